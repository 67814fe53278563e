// What stands between a rule and the gateway's contract (wit/gateway.wit).
//
// A rule has `decide`, and perhaps `configure` and `tick`. Whatever is made here during a call (texts, outputs) is freed when the
// call has ended: what is to stay is kept by tg_keep, or is the rule's own.
#ifndef TIDEGATE_H
#define TIDEGATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// --- texts and bytes ---

// So many bytes, not terminated. `at` is NULL where there is none.
typedef struct {
  const char *at;
  size_t len;
} tg_text;

#define TG(literal) {"" literal, sizeof(literal) - 1}
// For "%.*s".
#define TG_ARGS(text) (int)(text).len, (text).at

tg_text tg_from(const char *terminated);
bool tg_is(tg_text text, const char *other);
bool tg_same(tg_text text, tg_text other);
// As printf.
tg_text tg_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
// The shortest decimal text that reads as this number. NaN and infinity are no JSON: a text with nothing in it.
tg_text tg_number(double number);
// So many bytes until the call has ended.
char *tg_allocate(size_t len);
// A copy that stays until the plugin ends: for `configure`, not for each message.
tg_text tg_keep(tg_text text);

// --- what comes in ---

typedef struct {
  uint64_t id;           // below 2^53
  uint64_t received_ms;  // since the Unix epoch
  tg_text source, topic, payload;
  uint8_t qos;
  bool retain, redelivered;
  const struct tidegate_gateway_types_properties_t *properties;
} tg_message;

tg_text tg_content_type(const tg_message *message);
tg_text tg_response_topic(const tg_message *message);
tg_text tg_correlation_data(const tg_message *message);
// Seconds; 0 where it has none.
uint32_t tg_expiry(const tg_message *message);
// The first user property of this name.
tg_text tg_find_user_property(const tg_message *message, const char *name);
// The user property at this index; false behind the last one.
bool tg_user_property_at(const tg_message *message, size_t index, tg_text *name, tg_text *value);

// --- what goes out ---

typedef struct tg_output tg_output;

// An output to the route's next plugin; after the last one, to the route's targets.
tg_output *tg_onward(void);
// An output straight to this broker or target set, which must be granted.
tg_output *tg_target(const char *name);
void tg_topic(tg_output *output, tg_text topic);
void tg_payload(tg_output *output, tg_text bytes);
void tg_qos(tg_output *output, uint8_t level);
void tg_retain(tg_output *output, bool retained);
void tg_set_content_type(tg_output *output, tg_text type);
void tg_set_response_topic(tg_output *output, tg_text topic);
void tg_set_correlation_data(tg_output *output, tg_text bytes);
void tg_set_expiry(tg_output *output, double seconds);
// One more, behind those that are there.
void tg_user_property(tg_output *output, const char *name, tg_text value);
// Without this: "every", "content-type", "response-topic", "correlation-data", "message-expiry", "payload-is-utf8", "user".
void tg_remove(tg_output *output, const char *property);
// A set of policy `balance` chooses its member by this.
void tg_key(tg_output *output, tg_text key);

// --- what becomes of it ---

typedef struct {
  uint8_t kind;
  tg_text reason;
} tg_decision;

// Onward, unchanged.
tg_decision tg_pass(void);
// Nowhere, for this reason; counted under it, so let there be few.
tg_decision tg_drop(const char *reason);
// It will never be decided: the route's `on_failure`.
tg_decision tg_reject(const char *reason);
// Not now: try again later.
tg_decision tg_retry(const char *reason);
// Each output that was made for this message, in that order.
tg_decision tg_forward(void);

// --- what a rule has ---

tg_decision decide(const tg_message *message);
// May be left out: then any configuration is taken.
void configure(tg_text config);
// For `world = "timed"` and "stateful-timed" in plugin.toml: the outputs that are made in it go out.
void tick(uint64_t now_ms);

// An error of the configuration, for `configure`; `at` is a path into it.
void tg_refuse(tg_text at, const char *message);

// --- the gateway ---

// Lines in its log.
void tg_debug(tg_text line);
void tg_info(tg_text line);
void tg_warn(tg_text line);
void tg_error(tg_text line);

// Durable state, for `world = "stateful"` and "stateful-timed". What a call writes takes effect with its decisions, or not at all.
bool tg_state_get(tg_text key, tg_text *value);
void tg_state_set(tg_text key, tg_text value);
void tg_state_delete(tg_text key);
// How many keys begin with this; the keys are in `*keys`.
size_t tg_state_keys(tg_text prefix, tg_text **keys);

// --- JSON (RFC 8259) ---

typedef enum {
  TG_JSON_NONE,  // no such member, or no JSON object at all
  TG_JSON_NULL,
  TG_JSON_BOOLEAN,
  TG_JSON_NUMBER,
  TG_JSON_TEXT,
  TG_JSON_ARRAY,
  TG_JSON_OBJECT,
  TG_JSON_HUGE,  // a number that no double holds
} tg_json_kind;

// A member of an object. To begin with it is {0}.
typedef struct {
  tg_text name;  // without escapes
  tg_text raw;   // the value as it is written; also an object for tg_json_next
  tg_text text;  // of TG_JSON_TEXT, without escapes
  double number; // of TG_JSON_NUMBER; 1 for true
  tg_json_kind kind;
} tg_member;

// The next member of a JSON object; false behind the last one, and if it is no object or no valid JSON.
bool tg_json_next(tg_text json, tg_member *member);
// The member of this name, the last of several.
tg_member tg_json_find(tg_text json, tg_text name);
// Whether it is valid JSON, of at most 128 levels.
bool tg_json_is_valid(tg_text json);
// A copy of the text in which the value of the member is this.
tg_text tg_json_replace(tg_text json, tg_member member, tg_text value);
// A text as JSON has it, with its quotes.
tg_text tg_json_quote(tg_text text);

#endif
