// Joins the rule to the gateway's contract. Nothing here is to be changed.
import { join } from "./tidegate.js";
import * as rule from "./rule.js";

export const { handler, packed, timer } = join(rule);
