# expect: Message.payload: dict[str, float] has no column type; declare a nested hw.Event

import headwater as hw
from headwater.connectors import files


class Message(hw.Event):
    at: hw.EventTime
    payload: dict[str, float]


flow = hw.Flow("wrong")


@flow.source
def messages() -> hw.Source[Message]:
    return files.json_lines("messages.jsonl")
