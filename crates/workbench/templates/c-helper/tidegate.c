// What stands between a rule and the gateway's contract. Nothing here is to be changed.
#include "tidegate.h"
#include "contract/plugin.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- memory: whatever a call is given or makes lies in blocks that are reset when it has returned ---

#define BLOCK_BYTES (64 << 10)

typedef struct __attribute__((aligned(16))) block {
  struct block *next;
  size_t room, used;
} block;

static block *blocks;

static void *allocate(size_t size, size_t align) {
  if (align < 8) align = 8;
  size_t start = blocks ? (blocks->used + align - 1) & ~(align - 1) : 0;
  if (!blocks || start + size > blocks->room) {
    size_t room = size + align > BLOCK_BYTES ? size + align : BLOCK_BYTES;
    block *more = malloc(sizeof(block) + room);
    if (!more) {
      tg_error(tg_from("out of memory: see limits.memory"));
      __builtin_trap();
    }
    *more = (block){.next = blocks, .room = room, .used = 0};
    blocks = more;
    start = 0;
  }
  blocks->used = start + size;
  return (char *)(blocks + 1) + start;
}

static void reset(void) {
  while (blocks && (blocks->next || blocks->room > BLOCK_BYTES)) {
    block *next = blocks->next;
    free(blocks);
    blocks = next;
  }
  if (blocks) blocks->used = 0;
}

// In place of the ones in contract/plugin.c, which may be replaced.
__attribute__((__export_name__("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
  if (size == 0) return (void *)align;
  void *made = allocate(size, align);
  if (old_size) memcpy(made, old, old_size < size ? old_size : size);
  return made;
}

__attribute__((__export_name__("cabi_post_tidegate:gateway/timer@1.0.0#tick"))) void
__wasm_export_exports_tidegate_gateway_timer_tick_post_return(uint8_t *returned) {
  (void)returned;
  reset();
}

__attribute__((__export_name__("cabi_post_tidegate:gateway/handler@1.0.0#configure"))) void
__wasm_export_exports_tidegate_gateway_handler_configure_post_return(uint8_t *returned) {
  (void)returned;
  reset();
}

__attribute__((__export_name__("cabi_post_tidegate:gateway/handler@1.0.0#handle"))) void
__wasm_export_exports_tidegate_gateway_handler_handle_post_return(uint8_t *returned) {
  (void)returned;
  reset();
}

// The types are put in by `tidegate plugin build`.
void __component_type_object_force_link_plugin(void) {}

// --- texts ---

tg_text tg_from(const char *terminated) { return (tg_text){terminated, strlen(terminated)}; }

bool tg_is(tg_text text, const char *other) { return tg_same(text, tg_from(other)); }

bool tg_same(tg_text text, tg_text other) { return text.len == other.len && (text.len == 0 || memcmp(text.at, other.at, text.len) == 0); }

char *tg_allocate(size_t len) { return allocate(len, 1); }

tg_text tg_format(const char *format, ...) {
  va_list values, again;
  va_start(values, format);
  va_copy(again, values);
  int len = vsnprintf(NULL, 0, format, values);
  va_end(values);
  char *made = allocate(len < 0 ? 1 : (size_t)len + 1, 1);
  if (len > 0) vsnprintf(made, (size_t)len + 1, format, again);
  va_end(again);
  return (tg_text){made, len < 0 ? 0 : (size_t)len};
}

tg_text tg_number(double number) {
  if (!isfinite(number)) return (tg_text){"", 0};
  if (fabs(number) < 1e15 && number == floor(number)) return tg_format("%.0f", number == 0 ? 0 : number);
  for (int digits = 15; digits < 17; digits++) {
    tg_text text = tg_format("%.*g", digits, number);
    if (strtod(text.at, NULL) == number) return text;
  }
  return tg_format("%.17g", number);
}

tg_text tg_keep(tg_text text) {
  char *kept = malloc(text.len + 1);
  if (!kept) __builtin_trap();
  memcpy(kept, text.at, text.len);
  kept[text.len] = 0;
  return (tg_text){kept, text.len};
}

static tg_text in(plugin_string_t text) { return (tg_text){(const char *)text.ptr, text.len}; }
static tg_text in_bytes(plugin_list_u8_t bytes) { return (tg_text){(const char *)bytes.ptr, bytes.len}; }
static plugin_string_t out(tg_text text) { return (plugin_string_t){(uint8_t *)text.at, text.len}; }
static plugin_list_u8_t out_bytes(tg_text bytes) { return (plugin_list_u8_t){(uint8_t *)bytes.at, bytes.len}; }

// --- what comes in ---

tg_text tg_content_type(const tg_message *message) {
  return message->properties->content_type.is_some ? in(message->properties->content_type.val) : (tg_text){0};
}

tg_text tg_response_topic(const tg_message *message) {
  return message->properties->response_topic.is_some ? in(message->properties->response_topic.val) : (tg_text){0};
}

tg_text tg_correlation_data(const tg_message *message) {
  return message->properties->correlation_data.is_some ? in_bytes(message->properties->correlation_data.val) : (tg_text){0};
}

uint32_t tg_expiry(const tg_message *message) {
  return message->properties->message_expiry_seconds.is_some ? message->properties->message_expiry_seconds.val : 0;
}

bool tg_user_property_at(const tg_message *message, size_t index, tg_text *name, tg_text *value) {
  if (index >= message->properties->user.len) return false;
  *name = in(message->properties->user.ptr[index].f0);
  *value = in(message->properties->user.ptr[index].f1);
  return true;
}

tg_text tg_find_user_property(const tg_message *message, const char *name) {
  tg_text found, value;
  for (size_t index = 0; tg_user_property_at(message, index, &found, &value); index++) {
    if (tg_is(found, name)) return value;
  }
  return (tg_text){0};
}

// --- what goes out ---

struct tg_output {
  tidegate_gateway_types_output_t output;
  size_t room;
  tg_output *next;
};

// Those of the message that is being decided.
static tg_output *first, *last;
static size_t made;

static tg_output *output_to(tidegate_gateway_types_destination_t to) {
  tg_output *output = allocate(sizeof(tg_output), 8);
  *output = (tg_output){.output = {.to = to}};
  *(last ? &last->next : &first) = output;
  last = output;
  made++;
  return output;
}

tg_output *tg_onward(void) { return output_to((tidegate_gateway_types_destination_t){.tag = TIDEGATE_GATEWAY_TYPES_DESTINATION_ONWARD}); }

tg_output *tg_target(const char *name) {
  return output_to((tidegate_gateway_types_destination_t){.tag = TIDEGATE_GATEWAY_TYPES_DESTINATION_TARGET, .val.target = out(tg_from(name))});
}

static tidegate_gateway_types_change_t *change(tg_output *output, uint8_t tag) {
  tidegate_gateway_types_list_change_t *changes = &output->output.changes;
  if (changes->len == output->room) {
    output->room = output->room ? 2 * output->room : 4;
    tidegate_gateway_types_change_t *more = allocate(output->room * sizeof *more, 8);
    if (changes->len) memcpy(more, changes->ptr, changes->len * sizeof *more);
    changes->ptr = more;
  }
  tidegate_gateway_types_change_t *added = &changes->ptr[changes->len++];
  added->tag = tag;
  return added;
}

void tg_topic(tg_output *output, tg_text topic) { change(output, TIDEGATE_GATEWAY_TYPES_CHANGE_TOPIC)->val.topic = out(topic); }

void tg_payload(tg_output *output, tg_text bytes) { change(output, TIDEGATE_GATEWAY_TYPES_CHANGE_PAYLOAD)->val.payload = out_bytes(bytes); }

void tg_qos(tg_output *output, uint8_t level) { change(output, TIDEGATE_GATEWAY_TYPES_CHANGE_QOS)->val.qos = level; }

void tg_retain(tg_output *output, bool retained) { change(output, TIDEGATE_GATEWAY_TYPES_CHANGE_RETAIN)->val.retain = retained; }

void tg_set_content_type(tg_output *output, tg_text type) {
  change(output, TIDEGATE_GATEWAY_TYPES_CHANGE_CONTENT_TYPE)->val.content_type = out(type);
}

void tg_set_response_topic(tg_output *output, tg_text topic) {
  change(output, TIDEGATE_GATEWAY_TYPES_CHANGE_RESPONSE_TOPIC)->val.response_topic = out(topic);
}

void tg_set_correlation_data(tg_output *output, tg_text bytes) {
  change(output, TIDEGATE_GATEWAY_TYPES_CHANGE_CORRELATION_DATA)->val.correlation_data = out_bytes(bytes);
}

void tg_set_expiry(tg_output *output, double seconds) {
  change(output, TIDEGATE_GATEWAY_TYPES_CHANGE_MESSAGE_EXPIRY_SECONDS)->val.message_expiry_seconds = seconds;
}

void tg_user_property(tg_output *output, const char *name, tg_text value) {
  change(output, TIDEGATE_GATEWAY_TYPES_CHANGE_USER_PROPERTY)->val.user_property = (plugin_tuple2_string_string_t){out(tg_from(name)), out(value)};
}

void tg_remove(tg_output *output, const char *property) {
  static const char *const names[] = {"every", "content-type", "response-topic", "correlation-data", "message-expiry", "payload-is-utf8", "user"};
  for (uint8_t at = 0; at < sizeof names / sizeof *names; at++) {
    if (strcmp(names[at], property) == 0) {
      change(output, TIDEGATE_GATEWAY_TYPES_CHANGE_REMOVE)->val.remove = at;
      return;
    }
  }
  tg_error(tg_format("tg_remove: there is no property `%s`", property));
  __builtin_trap();
}

void tg_key(tg_output *output, tg_text key) { change(output, TIDEGATE_GATEWAY_TYPES_CHANGE_KEY)->val.key = out(key); }

static tidegate_gateway_types_list_output_t take_outputs(void) {
  tidegate_gateway_types_list_output_t list = {allocate(made * sizeof(tidegate_gateway_types_output_t), 8), 0};
  for (tg_output *output = first; output; output = output->next) list.ptr[list.len++] = output->output;
  first = last = NULL;
  made = 0;
  return list;
}

// --- what becomes of it ---

tg_decision tg_pass(void) { return (tg_decision){.kind = TIDEGATE_GATEWAY_TYPES_DECISION_PASS}; }

tg_decision tg_drop(const char *reason) { return (tg_decision){TIDEGATE_GATEWAY_TYPES_DECISION_DROP, tg_from(reason)}; }

tg_decision tg_reject(const char *reason) { return (tg_decision){TIDEGATE_GATEWAY_TYPES_DECISION_REJECT, tg_from(reason)}; }

tg_decision tg_retry(const char *reason) { return (tg_decision){TIDEGATE_GATEWAY_TYPES_DECISION_RETRY, tg_from(reason)}; }

tg_decision tg_forward(void) { return (tg_decision){.kind = TIDEGATE_GATEWAY_TYPES_DECISION_FORWARD}; }

static tidegate_gateway_types_decision_t decision(tg_decision decided) {
  tidegate_gateway_types_list_output_t outputs = take_outputs();
  tidegate_gateway_types_decision_t decision = {.tag = decided.kind};
  if (decided.kind == TIDEGATE_GATEWAY_TYPES_DECISION_FORWARD) {
    decision.val.forward = outputs;
  } else {
    decision.val.drop = out(decided.reason);
  }
  return decision;
}

// --- the calls ---

static tidegate_gateway_types_list_diagnostic_t diagnostics;

void tg_refuse(tg_text at, const char *message) {
  tidegate_gateway_types_diagnostic_t *more = allocate((diagnostics.len + 1) * sizeof *more, 8);
  if (diagnostics.len) memcpy(more, diagnostics.ptr, diagnostics.len * sizeof *more);
  more[diagnostics.len] = (tidegate_gateway_types_diagnostic_t){out(at), out(tg_from(message))};
  diagnostics = (tidegate_gateway_types_list_diagnostic_t){more, diagnostics.len + 1};
}

__attribute__((weak)) void configure(tg_text config) { (void)config; }

__attribute__((weak)) void tick(uint64_t now_ms) { (void)now_ms; }

void exports_tidegate_gateway_handler_configure(plugin_string_t *config, exports_tidegate_gateway_handler_verdict_t *verdict) {
  diagnostics.len = 0;
  configure(in(*config));
  verdict->tag = diagnostics.len ? TIDEGATE_GATEWAY_TYPES_VERDICT_REFUSED : TIDEGATE_GATEWAY_TYPES_VERDICT_ACCEPTED;
  verdict->val.refused = diagnostics;
}

void exports_tidegate_gateway_handler_handle(plugin_string_t *source, exports_tidegate_gateway_handler_list_message_t *messages,
                                             exports_tidegate_gateway_handler_list_decision_t *decisions) {
  decisions->ptr = allocate(messages->len * sizeof *decisions->ptr, 8);
  decisions->len = messages->len;
  for (size_t index = 0; index < messages->len; index++) {
    tidegate_gateway_types_message_t *came = &messages->ptr[index];
    tg_message message = {
        .id = came->id,
        .received_ms = came->received_ms,
        .source = in(*source),
        .topic = in(came->topic),
        .payload = in_bytes(came->payload),
        .qos = came->qos,
        .retain = came->retain,
        .redelivered = came->redelivered,
        .properties = &came->properties,
    };
    decisions->ptr[index] = decision(decide(&message));
  }
}

void exports_tidegate_gateway_timer_tick(uint64_t now_ms, exports_tidegate_gateway_timer_list_output_t *outputs) {
  tick(now_ms);
  tidegate_gateway_types_list_output_t list = take_outputs();
  outputs->ptr = list.ptr;
  outputs->len = list.len;
}

// --- the gateway ---

static void line(tidegate_gateway_log_level_t level, tg_text text) {
  plugin_string_t said = out(text);
  tidegate_gateway_log_log(level, &said);
}

void tg_debug(tg_text text) { line(TIDEGATE_GATEWAY_LOG_LEVEL_DEBUG, text); }
void tg_info(tg_text text) { line(TIDEGATE_GATEWAY_LOG_LEVEL_INFO, text); }
void tg_warn(tg_text text) { line(TIDEGATE_GATEWAY_LOG_LEVEL_WARN, text); }
void tg_error(tg_text text) { line(TIDEGATE_GATEWAY_LOG_LEVEL_ERROR, text); }

bool tg_state_get(tg_text key, tg_text *value) {
  plugin_string_t name = out(key);
  plugin_list_u8_t found;
  if (!tidegate_gateway_state_get(&name, &found)) return false;
  *value = in_bytes(found);
  return true;
}

void tg_state_set(tg_text key, tg_text value) {
  plugin_string_t name = out(key);
  plugin_list_u8_t bytes = out_bytes(value);
  tidegate_gateway_state_set(&name, &bytes);
}

void tg_state_delete(tg_text key) {
  plugin_string_t name = out(key);
  tidegate_gateway_state_delete(&name);
}

size_t tg_state_keys(tg_text prefix, tg_text **keys) {
  plugin_string_t begin = out(prefix);
  plugin_list_string_t found;
  tidegate_gateway_state_keys(&begin, &found);
  *keys = (tg_text *)found.ptr;
  return found.len;
}
