// State of a declared type, as JSON. Nothing here is to be changed.
#include "state.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

// An integer as it is written: a double would lose digits beyond 2^53. What follows in the object ends it.
static bool is_integer(tg_member member) {
  return member.kind == TG_JSON_NUMBER && !memchr(member.raw.at, '.', member.raw.len) && !memchr(member.raw.at, 'e', member.raw.len) &&
         !memchr(member.raw.at, 'E', member.raw.len);
}

// The lower bytes: memory is little-endian.
static bool read_signed(tg_member member, size_t size, void *to) {
  if (!is_integer(member)) return false;
  errno = 0;
  long long number = strtoll(member.raw.at, NULL, 10);
  int spare = 64 - 8 * (int)size;
  if (errno || (long long)((unsigned long long)number << spare) >> spare != number) return false;
  memcpy(to, &number, size);
  return true;
}

static bool read_unsigned(tg_member member, size_t size, void *to) {
  if (!is_integer(member) || *member.raw.at == '-') return false;
  errno = 0;
  unsigned long long number = strtoull(member.raw.at, NULL, 10);
  if (errno || (size < sizeof number && number >> (8 * size))) return false;
  memcpy(to, &number, size);
  return true;
}

static bool read_field(tg_member member, const tg_field *field, char *to) {
  switch (field->kind) {
  case TG_FIELD_BOOLEAN:
    *(bool *)to = member.number == 1;
    return member.kind == TG_JSON_BOOLEAN;
  case TG_FIELD_NUMBER:
    memcpy(to, &member.number, sizeof member.number);
    return member.kind == TG_JSON_NUMBER;
  case TG_FIELD_SIGNED: return read_signed(member, field->size, to);
  case TG_FIELD_UNSIGNED: return read_unsigned(member, field->size, to);
  case TG_FIELD_TEXT:
    if (member.kind != TG_JSON_TEXT || member.text.len >= field->size) return false;
    memset(to, 0, field->size);
    memcpy(to, member.text.at, member.text.len);
    return true;
  }
  return false;
}

bool tg_read_fields(tg_text key, void *value, size_t size, const tg_field *fields, size_t count) {
  tg_text json;
  if (!tg_state_get(key, &json) || !tg_json_is_valid(json)) return false;
  const char *start = json.at;
  while (*start == ' ' || *start == '\t' || *start == '\n' || *start == '\r') start++;
  if (*start != '{') return false;
  char *made = tg_allocate(size);
  memcpy(made, value, size);
  for (tg_member member = {0}; tg_json_next(json, &member);) {
    for (size_t index = 0; index < count; index++) {
      const tg_field *field = &fields[index];
      if (tg_is(member.name, field->name) && !read_field(member, field, made + field->at)) return false;
    }
  }
  memcpy(value, made, size);
  return true;
}

static tg_text write_field(const tg_field *field, const char *at) {
  double number;
  long long whole = 0;
  switch (field->kind) {
  case TG_FIELD_BOOLEAN: return tg_from(*(const bool *)at ? "true" : "false");
  case TG_FIELD_NUMBER: memcpy(&number, at, sizeof number); return tg_number(number);
  case TG_FIELD_SIGNED:
    if ((signed char)at[field->size - 1] < 0) whole = -1;
    memcpy(&whole, at, field->size);
    return tg_format("%lld", whole);
  case TG_FIELD_UNSIGNED: memcpy(&whole, at, field->size); return tg_format("%llu", (unsigned long long)whole);
  case TG_FIELD_TEXT: return tg_json_quote((tg_text){at, strnlen(at, field->size)});
  }
  return (tg_text){0};
}

void tg_write_fields(tg_text key, const void *value, const tg_field *fields, size_t count) {
  tg_text json = tg_from("{");
  for (size_t index = 0; index < count; index++) {
    tg_text written = write_field(&fields[index], (const char *)value + fields[index].at);
    json = tg_format("%.*s%s\"%s\":%.*s", TG_ARGS(json), index ? "," : "", fields[index].name, TG_ARGS(written));
  }
  json = tg_format("%.*s}", TG_ARGS(json));
  if (!tg_json_is_valid(json)) {
    tg_error(tg_format("tg_write: a number that JSON has not, or a text that is not UTF-8, for `%.*s`: %.*s", TG_ARGS(key), TG_ARGS(json)));
    __builtin_trap();
  }
  tg_state_set(key, json);
}
