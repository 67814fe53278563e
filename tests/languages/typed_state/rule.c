// Counts, and keeps the highest value, for each topic.
#include "state.h"

typedef struct {
  uint64_t count;
  int16_t lowest;
  double highest;
  bool alarmed;
  char unit[4];
} day;

static const tg_field day_fields[] = {
    TG_FIELD(day, count), TG_FIELD(day, lowest), TG_FIELD(day, highest), TG_FIELD(day, alarmed), TG_FIELD(day, unit),
};

tg_decision decide(const tg_message *message) {
  tg_member value = tg_json_find(message->payload, tg_from("value"));
  day today = {.lowest = 100, .highest = -100, .unit = "C"};
  bool found = tg_read(message->topic, &today, day_fields);
  today.count++;
  if (value.number < today.lowest) today.lowest = (int16_t)value.number;
  if (value.number > today.highest) today.highest = value.number;
  today.alarmed |= value.number > 50;
  if (value.kind == TG_JSON_HUGE) today.highest = value.number;
  tg_write(message->topic, &today, day_fields);
  tg_payload(tg_onward(), tg_format("%s %llu %d %s", found ? "again" : "first", today.count, today.lowest, today.unit));
  return tg_forward();
}
