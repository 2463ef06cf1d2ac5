"""What `iris --help` prints. Made by `python -m iris_cli.help_tool`; do not edit."""

HELP = """\
usage: iris [--config FILE | --cluster NAME] [-o FORMAT] [-v] COMMAND ...

Elastic clusters for machine-learning teams: one file names the machines, one
command brings them up, jobs run on them, and one command takes it all down
again and proves it.

commands:
  cluster start        Bring the cluster up; harmless when it is up already
  cluster status       Show the controller, its groups and what needs attention
  cluster stop         Delete every slice and stop the controller, with proof
  cluster restart      Stop the controller and start it again; tasks go on
  cluster tunnel       Hold the way to a controller on another machine open
  cluster login        Get a certificate for a cluster that others started
  cluster gc           Find what carries the cluster's identity and has no owner
  config validate      Check a configuration and say everything that is wrong
  config show          Show every value in effect and where it came from
  config schema        Print the JSON Schema of the configuration, for editors
  config accelerators  List the TPU types with their hosts and topologies
  job run              Run a command on the cluster and follow it
  job list             List jobs, newest first, and why they wait
  job show             Show one job, its tasks and how they ended
  job logs             Print what a job's tasks wrote
  job wait             Wait until a job has ended, and exit as it did
  job stop             Stop a job and everything that it started
  group list           List scale groups, and what the autoscaler wants of each
  slice list           List slices, their states and reasons
  worker list          List workers, what they offer and what is used
  worker show          Show one worker, its tasks, and its bootstrap log
  doctor               Check all that a start needs, and say what to fix
  events               Show what happened and what was decided, oldest first
  version              Print the version of this program

global options (before or after the command):
  --config FILE           the cluster's configuration
  --cluster NAME          the cluster of that name: ./NAME.yaml, one in the
                          user's configuration directory, or one that was
                          started
  -o, --output FORMAT     table (default), wide, json or yaml
  -v, --verbose           say more; twice for error traces
  -h, --help              show this help and exit
  -V, --version           print the version of iris and exit

a first session:
  iris cluster start --config demo.yaml
  iris job run -- echo hello
  iris --cluster demo cluster stop

exit status:
  0 done   1 failed   2 usage or configuration   3 not found   4 not allowed
  5 controller unreachable   6 something is left over, or changes are pending
  7 timed out   8 stream broken   (job run and wait: the program's own)

environment:
  IRIS_CONFIG  the configuration, where neither --config nor --cluster is given;
               after that, the cluster that was started last
  IRIS_RECONNECT_TIMEOUT  how long a broken connection is tried again while
               following (default: 60s)
  IRIS_DEBUG   a trace with every error, like -v -v
  NO_COLOR     no colours

`iris COMMAND --help` says more about each command.
"""
