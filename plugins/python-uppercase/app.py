"""Writes the payload in capitals."""

import json

from wit_world.exports import Handler
from wit_world.imports.log import Level, log
from wit_world.imports.types import (
    Change_Payload,
    Decision_Forward,
    Decision_Pass,
    Destination_Onward,
    Diagnostic,
    Output,
    Verdict_Accepted,
    Verdict_Refused,
)


class Handler(Handler):
    def configure(self, config):
        unknown = json.loads(config)
        if unknown:
            return Verdict_Refused([Diagnostic(at=key, message="unknown key") for key in unknown])
        log(Level.INFO, "configured")
        return Verdict_Accepted()

    def handle(self, source, messages):
        return [self.decide(message) for message in messages]

    def decide(self, message):
        if message.payload.isupper():
            return Decision_Pass()
        return Decision_Forward([Output(Destination_Onward(), [Change_Payload(message.payload.upper())])])
