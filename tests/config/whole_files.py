"""Three valid files that between them use every field there is."""

GCP = """\
name: whole
controller:
  gcp:
    project_id: my-project
    zone: europe-west4-b
    machine_type: e2-standard-8
    boot_image: my-image
    boot_disk_size: 30GiB
    state_disk_size: 40GiB
    network: net
    subnetwork: sub
    service_account: me@my-project.iam.gserviceaccount.com
    external_addresses: false
    labels: {team: ml}
    port: 10400
  advertise_address: controller.example:10400
scale_groups:
  tpus:
    name: tpus
    provider:
      tpu:
        project_id: my-project
        reservation: mine
        service_account: me@my-project.iam.gserviceaccount.com
        network: net
        subnetwork: sub
        external_addresses: false
        queued_resources: {valid_for: 3h}
    accelerator_type: v5litepod-16
    runtime_version: v2-alpha-tpuv5-lite
    zones: [europe-west4-b, europe-west4-a]
    capacity: reserved
    min_slices: 0
    max_slices: 4
    buffer_slices: 1
    priority: 10
    slice_size: 4
    idle_timeout: 20m
    boot_timeout: 1h30m
    task_lease: 2h
    labels: {team: ml}
  hosts:
    provider:
      manual:
        hosts: [10.0.0.1, 10.0.0.2]
        ssh_user: ray
        ssh_key_file: ~/.ssh/id_ed25519
        ssh_port: 2222
        ssh_jump_host: me@jump:22
        per_host:
          10.0.0.2: {ssh_user: me, ssh_key_file: ~/key, ssh_port: 22, ssh_jump_host: jump}
  here:
    provider: { local: {} }
    host_resources: { cpu: 1.5, memory: 8GiB }
fleets:
  v6:
    generation: v6e
    sizes: [16, 32]
    zones: [europe-west4-a]
    group_per_zone: true
    template: { provider: { tpu: { project_id: my-project } } }
autoscaler: { evaluation_interval: 5s, max_creates_per_minute: 30 }
bootstrap:
  container: { image: 'ghcr.io/team/iris:1.0', env: { DEBUG: 1 }, health_port: 10402 }
ssh: { connect_timeout: 10s, keepalive_interval: 5s, max_parallel: 8, config_file: ~/.ssh/config }
storage: { state_dir: /var/lib/iris/mine, pki_dir: /var/lib/iris-pki/mine }
timeouts: { beat_interval: 5s, suspect_after: 1m, stop_grace: 10s, orphan_timeout: 1h, fence_after: 10m }
logs: { max_size: 64MiB }
endpoints:
  tpu: https://tpu.example
  compute: https://compute.example:8443
  certificates: http://localhost:8080
"""

MANUAL = """\
name: own
controller:
  manual:
    host: 10.0.0.9
    ssh_user: ray
    ssh_key_file: ~/.ssh/id_ed25519
    ssh_port: 22
    ssh_jump_host: jump
    port: 10400
"""

LOCAL = """\
name: here
controller: { local: { port: 10400 } }
"""

WHOLE_FILES = (GCP, MANUAL, LOCAL)
