"""A controller that was replaced and does not know it: what it says must move nobody."""

from __future__ import annotations

from iris_controller.codec import wire
from iris_controller.core import effects as fx
from iris_proto.v1 import worker_pb2
from tests.simulation.engine import Action, Pipe, Take

# Why it has attempts stopped; an agent that passes this on to its keeper has obeyed.
STALE = "stale"


def accept(down: Pipe[bytes], timings: worker_pb2.Timings) -> tuple[Take, Action]:
    """Takes an agent's stream, welcomes it, and stops all that it runs."""
    epoch = 0

    def take(data: bytes) -> None:
        nonlocal epoch
        message = worker_pb2.AgentMessage.FromString(data)
        match message.WhichOneof("message"):
            case "hello":
                epoch = message.hello.highest_epoch - 1
                if epoch <= 0:
                    # Nothing that it says would be old news.
                    down.finish()
                    return
                ids = [wire.attempt_id_from_proto(seen.spec.id) for seen in message.hello.observed]
                verdicts = tuple(fx.Verdict(attempt, keep=False, reason=STALE) for attempt in ids)
                welcome = wire.welcome(fx.SendWelcome(0, 600_000, verdicts), timings, epoch, 1_000_000)
                down.send(welcome.SerializeToString())
            case "beat":
                ack = wire.beat_ack(fx.AckBeat(0, message.beat.sequence), epoch, 1_000_000)
                down.send(ack.SerializeToString())
            case _:
                pass

    return take, down.finish
