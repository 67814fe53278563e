"""Writes the payload in capitals."""

import json

from wit_world.exports import Handler
from wit_world.imports.log import Level, log
from wit_world.imports.types import Decision_Forward, Decision_Pass, Destination_Onward, Diagnostic, Output
from componentize_py_types import Err, Ok


class Handler(Handler):
    def configure(self, config):
        unknown = json.loads(config or "{}")
        if unknown:
            raise Err([Diagnostic(at=key, message="unknown key") for key in unknown])
        log(Level.INFO, "configured")

    def handle(self, source, messages):
        return [Ok(self.decide(message)) for message in messages]

    def decide(self, message):
        if message.payload.isupper():
            return Decision_Pass()
        return Decision_Forward([Output(Destination_Onward(), None, message.payload.upper(), None, None, None)])
