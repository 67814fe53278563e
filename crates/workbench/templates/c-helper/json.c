// JSON as RFC 8259 has it, read in place: no tree is built. Nothing here is to be changed.
#include "tidegate.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS 128

// What is left to read; `bad` once it is no JSON.
typedef struct {
  const char *at, *end;
  bool bad;
} cursor;

static void skip_value(cursor *c, int levels);

static int peek(cursor *c) { return c->at < c->end ? (unsigned char)*c->at : -1; }

static void skip_space(cursor *c) {
  while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r')) c->at++;
}

static bool take(cursor *c, char wanted) {
  if (peek(c) != wanted) return false;
  c->at++;
  return true;
}

static void expect(cursor *c, char wanted) { c->bad |= !take(c, wanted); }

static bool is_digit(int byte) { return byte >= '0' && byte <= '9'; }

// Four digits of a \u, or -1.
static int hex4(cursor *c) {
  int unit = 0;
  for (int digit = 0; digit < 4; digit++, c->at++) {
    int byte = peek(c);
    int value = is_digit(byte) ? byte - '0' : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10 : -1;
    if (value < 0) return -1;
    unit = unit << 4 | value;
  }
  return unit;
}

// The character of an escape, behind its backslash, or -1. Half a surrogate pair is JSON, and no character: U+FFFD.
static int escaped(cursor *c) {
  int byte = peek(c);
  c->at++;
  switch (byte) {
  case '"': case '\\': case '/': return byte;
  case 'b': return '\b';
  case 'f': return '\f';
  case 'n': return '\n';
  case 'r': return '\r';
  case 't': return '\t';
  case 'u': {
    int unit = hex4(c);
    if (unit < 0xd800 || unit > 0xdfff) return unit;
    cursor rest = *c;
    int low = unit < 0xdc00 && take(&rest, '\\') && take(&rest, 'u') ? hex4(&rest) : -1;
    if (low < 0xdc00 || low > 0xdfff) return 0xfffd;
    *c = rest;
    return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
  }
  default: return -1;
  }
}

// How many bytes the character here has in UTF-8; 0 if it is none (RFC 3629, section 4).
static size_t utf8_len(const unsigned char *at, size_t room) {
  size_t len = *at < 0x80 ? 1 : *at < 0xc2 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : *at < 0xf5 ? 4 : 0;
  if (len > room) return 0;
  for (size_t index = 1; index < len; index++) {
    if ((at[index] & 0xc0) != 0x80) return 0;
  }
  bool is_long = (*at == 0xe0 && at[1] < 0xa0) || (*at == 0xf0 && at[1] < 0x90);
  bool is_beyond = (*at == 0xed && at[1] > 0x9f) || (*at == 0xf4 && at[1] > 0x8f);
  return is_long || is_beyond ? 0 : len;
}

// Behind the opening quote, to behind the closing one; whether there were escapes.
static bool skip_text(cursor *c) {
  bool has_escapes = false;
  while (!c->bad) {
    int byte = peek(c);
    if (byte == '"') {
      c->at++;
      return has_escapes;
    }
    if (byte == '\\') {
      has_escapes = true;
      c->at++;
      c->bad |= escaped(c) < 0 || c->at > c->end;
    } else if (byte < 0x20) {
      c->bad = true;
    } else {
      size_t len = utf8_len((const unsigned char *)c->at, (size_t)(c->end - c->at));
      c->bad |= len == 0;
      c->at += len;
    }
  }
  return has_escapes;
}

static void skip_digits(cursor *c) {
  c->bad |= !is_digit(peek(c));
  while (is_digit(peek(c))) c->at++;
}

static void skip_number(cursor *c) {
  take(c, '-');
  if (!take(c, '0')) skip_digits(c);
  if (take(c, '.')) skip_digits(c);
  if (take(c, 'e') || take(c, 'E')) {
    if (!take(c, '+')) take(c, '-');
    skip_digits(c);
  }
}

static void skip_word(cursor *c, const char *word) {
  for (; *word; word++) expect(c, *word);
}

// Behind the opening bracket, to behind the closing one.
static void skip_inside(cursor *c, char close, int levels) {
  skip_space(c);
  if (take(c, close)) return;
  do {
    skip_space(c);
    if (close == '}') {
      expect(c, '"');
      skip_text(c);
      skip_space(c);
      expect(c, ':');
      skip_space(c);
    }
    skip_value(c, levels - 1);
    skip_space(c);
  } while (!c->bad && take(c, ','));
  expect(c, close);
}

static void skip_value(cursor *c, int levels) {
  if (levels < 0) c->bad = true;
  if (c->bad) return;
  switch (peek(c)) {
  case '{': c->at++; skip_inside(c, '}', levels); break;
  case '[': c->at++; skip_inside(c, ']', levels); break;
  case '"': c->at++; skip_text(c); break;
  case 't': skip_word(c, "true"); break;
  case 'f': skip_word(c, "false"); break;
  case 'n': skip_word(c, "null"); break;
  default: skip_number(c);
  }
}

static tg_text between(const char *from, const char *to) { return (tg_text){from, (size_t)(to - from)}; }

static char *write_utf8(char *at, int character) {
  if (character < 0x80) {
    *at++ = (char)character;
  } else if (character < 0x800) {
    *at++ = (char)(0xc0 | character >> 6);
    *at++ = (char)(0x80 | (character & 0x3f));
  } else if (character < 0x10000) {
    *at++ = (char)(0xe0 | character >> 12);
    *at++ = (char)(0x80 | (character >> 6 & 0x3f));
    *at++ = (char)(0x80 | (character & 0x3f));
  } else {
    *at++ = (char)(0xf0 | character >> 18);
    *at++ = (char)(0x80 | (character >> 12 & 0x3f));
    *at++ = (char)(0x80 | (character >> 6 & 0x3f));
    *at++ = (char)(0x80 | (character & 0x3f));
  }
  return at;
}

// A text that is known to be good, from behind its opening quote.
static tg_text read_text(cursor *c) {
  const char *start = c->at;
  if (!skip_text(c) || c->bad) return between(start, c->bad ? start : c->at - 1);
  // As long as the text at most: no escape is shorter than its character.
  cursor from = {start, c->at - 1, false};
  char *copy = tg_allocate((size_t)(from.end - start)), *to = copy;
  while (from.at < from.end) {
    if (*from.at == '\\') {
      from.at++;
      to = write_utf8(to, escaped(&from));
    } else {
      *to++ = *from.at++;
    }
  }
  return between(copy, to);
}

bool tg_json_is_valid(tg_text json) {
  cursor c = {json.at, json.at + json.len, false};
  skip_space(&c);
  skip_value(&c, LEVELS);
  skip_space(&c);
  return !c.bad && c.at == c.end;
}

bool tg_json_next(tg_text json, tg_member *member) {
  cursor c = {json.at, json.at + json.len, false};
  if (!member->raw.at) {
    if (!tg_json_is_valid(json)) return false;
    skip_space(&c);
    if (!take(&c, '{')) return false;
  } else {
    c.at = member->raw.at + member->raw.len;
    skip_space(&c);
    if (!take(&c, ',')) return false;
  }
  skip_space(&c);
  if (!take(&c, '"')) return false;
  *member = (tg_member){.name = read_text(&c)};
  skip_space(&c);
  expect(&c, ':');
  skip_space(&c);
  const char *start = c.at;
  switch (peek(&c)) {
  case '"':
    c.at++;
    member->kind = TG_JSON_TEXT;
    member->text = read_text(&c);
    break;
  case '{': member->kind = TG_JSON_OBJECT; break;
  case '[': member->kind = TG_JSON_ARRAY; break;
  case 'n': member->kind = TG_JSON_NULL; break;
  case 't': case 'f':
    member->kind = TG_JSON_BOOLEAN;
    member->number = peek(&c) == 't';
    break;
  default:
    member->kind = TG_JSON_NUMBER;
  }
  if (member->kind != TG_JSON_TEXT) skip_value(&c, LEVELS);
  member->raw = between(start, c.at);
  // It ends before what is no digit: the text is terminated by what follows in the object.
  if (member->kind == TG_JSON_NUMBER) member->number = strtod(start, NULL);
  if (isinf(member->number)) member->kind = TG_JSON_HUGE;
  return true;
}

tg_member tg_json_find(tg_text json, tg_text name) {
  tg_member found = {0};
  for (tg_member member = {0}; tg_json_next(json, &member);) {
    if (tg_same(member.name, name)) found = member;
  }
  return found;
}

static char *put(char *to, tg_text text) {
  memcpy(to, text.at, text.len);
  return to + text.len;
}

tg_text tg_json_replace(tg_text json, tg_member member, tg_text value) {
  const char *behind = member.raw.at + member.raw.len;
  char *made = tg_allocate(json.len - member.raw.len + value.len), *to = made;
  to = put(to, between(json.at, member.raw.at));
  to = put(to, value);
  to = put(to, between(behind, json.at + json.len));
  return between(made, to);
}

tg_text tg_json_quote(tg_text text) {
  // Six bytes at most for each.
  char *made = tg_allocate(6 * text.len + 2), *to = made;
  *to++ = '"';
  for (size_t index = 0; index < text.len; index++) {
    unsigned char byte = (unsigned char)text.at[index];
    if (byte == '"' || byte == '\\') {
      *to++ = '\\';
      *to++ = (char)byte;
    } else if (byte < 0x20) {
      to += sprintf(to, "\\u%04x", byte);
    } else {
      *to++ = (char)byte;
    }
  }
  *to++ = '"';
  return between(made, to);
}
