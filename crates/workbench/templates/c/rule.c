// Fahrenheit becomes Celsius; what is hotter than `above` goes to the target `alarms` as well.
#include "tidegate.h"
#include <math.h>

static tg_text field = TG("temp");
static double above = 50;

// Checks the `config` table of the plugin: what is wrong with it is said by tg_refuse.
void configure(tg_text config) {
  for (tg_member member = {0}; tg_json_next(config, &member);) {
    if (tg_is(member.name, "field") && member.kind == TG_JSON_TEXT) {
      field = tg_keep(member.text);
    } else if (tg_is(member.name, "above") && member.kind == TG_JSON_NUMBER) {
      above = member.number;
    } else {
      tg_refuse(member.name, "unknown key, or not of its kind; there are `field`, a text, and `above`, a number");
    }
  }
}

// From a message to a decision: tg_pass(), tg_drop(why), tg_reject(why), tg_retry(why), or outputs and tg_forward().
tg_decision decide(const tg_message *message) {
  tg_member reading = tg_json_find(message->payload, field);
  if (reading.kind != TG_JSON_NUMBER) return tg_drop("no such field");
  double celsius = floor((reading.number - 32) * 50 / 9 + 0.5) / 10;
  tg_output *converted = tg_onward();
  tg_payload(converted, tg_json_replace(message->payload, reading, tg_number(celsius)));
  if (celsius > above) {
    tg_output *alarm = tg_target("alarms");
    tg_topic(alarm, tg_format("alarm/%.*s", TG_ARGS(message->topic)));
    tg_payload(alarm, tg_number(celsius));
    tg_user_property(alarm, "above", tg_number(above));
  }
  return tg_forward();
}
