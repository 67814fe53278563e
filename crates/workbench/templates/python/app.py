"""Joins the rule to the gateway's contract. Nothing here is to be changed."""

import rule
from tidegate import Rule
from wit_world.exports import Handler as Contract


class Handler(Rule, Contract):
    def __init__(self):
        super().__init__(rule)
