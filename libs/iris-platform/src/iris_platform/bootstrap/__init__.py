"""The one startup script for SSH hosts, TPU VMs and GCE VMs (DESIGN 6).

    script = render(Startup(spec, bundle=BundleSource(sha256, path=…), …))
    # upload it, run `sh FILE` with the join token on standard input, then
    parse_outcome(stdout, exit_status).check(host)

`host/` is what runs over there; `notify.notify_ready` is for the programs that
are started. See docs/decisions/009-bundle.md.
"""

from iris_platform.bootstrap.answer import Outcome, parse_outcome
from iris_platform.bootstrap.document import NO_BUNDLE, NO_CONTAINER, BundleSource, DeadMan, Startup
from iris_platform.bootstrap.image import container_of
from iris_platform.bootstrap.notify import notify_ready
from iris_platform.bootstrap.render import host_program, render

__all__ = [
    "NO_BUNDLE",
    "NO_CONTAINER",
    "BundleSource",
    "DeadMan",
    "Outcome",
    "Startup",
    "container_of",
    "host_program",
    "notify_ready",
    "parse_outcome",
    "render",
]
