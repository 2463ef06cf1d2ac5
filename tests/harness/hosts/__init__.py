"""Hosts to test against: real `sshd`, an address, a process tree and a file tree each, made in a moment.

A host is a set of namespaces on this machine: network (its own address on the
lab's bridge), processes, mounts, host name, cgroups. Its root is an overlay over
a base tree, so it writes only to a disk of its own, in memory:

    machine             this machine's own files: whatever is installed here
    bookworm, trixie    bare Debian: `python3` (3.11, 3.13), `sshd`, nothing else

The first process of a host is tini, and `sshd` its child; with `init="systemd"` it is
systemd, with `sshd` and the journal and nothing else that the base has units for
(the machine's own systemd, or that of trixie). Root logs in by key. A user of the lab:

    with Lab() as lab:                                        # or the fixture `lab`
        a = lab.host("a", base="bookworm", memory=256 << 20, disk=64 << 20)
        many = lab.hosts(8)                                   # started together
        ssh = [*lab.ssh_command(a), "true"]                   # the ssh client, keys pinned
        before = a.listing()
        ...                                                   # a.address, lab.user_key: anything over SSH
        assert a.listing().since(before) == []                # left as it was found

Things that go wrong, each undone by the one behind the stroke:

    a.kill()                       power cut: nothing closes, peers hear no more     / a.boot()
    a.power_off()                  orderly: everything gets SIGTERM, peers see it    / a.boot()
    a.boot(fresh_disk=True)        a reinstalled machine: old keys are gone, except the host's own
    a.freeze()                     takes connections and says nothing                / a.thaw()
    a.cut(incoming=, outgoing=)    packets vanish, one way or both                   / a.heal()
    a.block(b, port)               what `b` sends to that port of `a` vanishes       / a.heal()
    a.set_address(...)             an address that was another's
    a.new_host_key()               another machine answers, or it was installed again
    a.refuse_key()                 the user's key is no longer let in                / a.accept_key()
    a.fill_disk()                  nothing can be written                            / a.free_disk()
    a.set_clock_offset(seconds)    wrong by so much                                  / a.set_clock_offset(0)
    a.remove_python()
    with lab.slow(a, delay_s=0.2, bytes_per_s=10_000) as (address, port): ...

`a.run`, `a.read` and `a.listing` go in through the namespaces, not through SSH,
and so work whatever the network does (a frozen host cannot answer: they fail at
their deadline).

All of it runs *sealed* (`python -m tests.harness.hosts.sealed COMMAND`, which is
what `./dev test -e hosts` does): the tests themselves are in namespaces that no
packet can leave and that take everything with them when they end, however they
end. `engines` has container engines for hosts. Outside, without root, or without the Debian packages `openssh-server
nftables tini`, tests skip and say why; base trees need `debootstrap` and the
network once, clocks need `libfaketime`.

What it cannot do: the kernel is shared (so are its version, its load, and what
`free` says); the clock offset is a library preloaded into sessions, which
statically linked programs do not see, nor those that were started before or with
an empty environment; delay and bandwidth exist only through `lab.slow`, as a TCP
proxy. All hosts are on one wire: who connects anew to one that was killed is told
"no route to host" at once, where the internet would say nothing.
"""

from tests.harness.hosts.host import Host
from tests.harness.hosts.lab import Lab
from tests.harness.hosts.listing import Listing
from tests.harness.hosts.needs import BenchLacks

__all__ = ["BenchLacks", "Host", "Lab", "Listing"]
