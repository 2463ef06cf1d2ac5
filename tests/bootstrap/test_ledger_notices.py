"""What an agent makes of a notice: of its own host's, and of the slice's others."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from iris_bootstrap.session.outputs import Output, SendToController, TellTasks
from iris_proto.v1 import worker_pb2
from iris_proto.v1.worker_pb2 import ControllerMessage
from tests.bootstrap.ledgers import Agent, of_type, sent, welcome

TOLD = TellTasks("preempted", "slice/3: Google preempts it", 130.0)


def taking(takes: bool = True) -> ControllerMessage:
    message = welcome()
    message.welcome.takes_notices = takes
    return message


def notices(outputs: list[Output]) -> list[tuple[str, float]]:
    messages = [out.message for out in outputs if isinstance(out, SendToController)]
    return [
        (message.notice.kind, message.notice.time_left.ToMilliseconds() / 1000)
        for message in messages
        if message.HasField("notice")
    ]


def noticed(agent: Agent) -> list[Output]:
    return agent.ledger.on_noticed("preempted", "slice/3: Google preempts it", 30.0, agent.now_s)


def test_our_own_tasks_hear_at_once_and_the_controller_with_them() -> None:
    agent = Agent()
    agent.connect(taking())
    outputs = noticed(agent)
    assert outputs[0] == TOLD
    notice = sent(outputs, "notice").notice
    assert (notice.kind, notice.message, notice.time_left.seconds) == (TOLD.kind, TOLD.message, 30)


def test_without_a_controller_our_own_tasks_hear_nevertheless() -> None:
    agent = Agent()
    assert noticed(agent) == [TOLD]
    # And the next one hears of it while that matters, with what is left by then.
    agent.now_s += 10.0
    assert notices(agent.connect(taking())) == [("preempted", 20.0)]
    agent.ledger.on_disconnected()
    agent.now_s += 20.0
    assert notices(agent.connect(taking())) == []


def test_a_controller_of_an_earlier_release_is_told_nothing() -> None:
    agent = Agent()
    agent.connect(taking(False))
    assert noticed(agent) == [TOLD]


def test_anothers_notice_reaches_our_tasks() -> None:
    agent = Agent()
    agent.connect(taking())
    agent.now_s += 5.0
    notice = worker_pb2.Notice(kind="maintenance", message="slice/0: …", time_left=Duration(seconds=60))
    for epoch, told in ((7, [TellTasks("maintenance", "slice/0: …", 165.0)]), (6, [])):
        heard = ControllerMessage(notice=worker_pb2.SliceNotice(epoch=epoch, notice=notice))
        assert of_type(agent.hear(heard), TellTasks) == told
