// Durable state of a type that is declared, kept as JSON: for `world = "stateful"` and "stateful-timed".
//
//     typedef struct { uint32_t count; double highest; char unit[8]; } day;
//     static const tg_field day_fields[] = {TG_FIELD(day, count), TG_FIELD(day, highest), TG_FIELD(day, unit)};
//
//     day today = {.unit = "C"};
//     tg_read(tg_from("today"), &today, day_fields);
//     today.count++;
//     tg_write(tg_from("today"), &today, day_fields);
#ifndef TIDEGATE_STATE_H
#define TIDEGATE_STATE_H

#include "tidegate.h"

typedef enum { TG_FIELD_BOOLEAN, TG_FIELD_NUMBER, TG_FIELD_SIGNED, TG_FIELD_UNSIGNED, TG_FIELD_TEXT } tg_field_kind;

// A member of a struct.
typedef struct {
  const char *name;
  size_t at, size;
  tg_field_kind kind;
} tg_field;

// A `bool`, a `double`, an integer of any width, or a `char[]` that holds a terminated text. Another type does not compile.
#define TG_FIELD(type, member)                                                                                                   \
  {#member, offsetof(type, member), sizeof(((type *)0)->member),                                                                 \
   _Generic(&((type *)0)->member, bool *: TG_FIELD_BOOLEAN, double *: TG_FIELD_NUMBER, signed char *: TG_FIELD_SIGNED,           \
       short *: TG_FIELD_SIGNED, int *: TG_FIELD_SIGNED, long *: TG_FIELD_SIGNED, long long *: TG_FIELD_SIGNED,                  \
       unsigned char *: TG_FIELD_UNSIGNED, unsigned short *: TG_FIELD_UNSIGNED, unsigned *: TG_FIELD_UNSIGNED,                   \
       unsigned long *: TG_FIELD_UNSIGNED, unsigned long long *: TG_FIELD_UNSIGNED,                                              \
       char(*)[sizeof(((type *)0)->member)]: TG_FIELD_TEXT)}

// What is remembered under this key. False, and the value as it was, where there is nothing, or no JSON of this type. A member that
// the JSON lacks stays as it was, and one that the type lacks is passed over.
#define tg_read(key, value, fields) tg_read_fields(key, value, sizeof *(value), fields, sizeof fields / sizeof *fields)
// Remembers it. A number that is NaN or infinite, and a text that is not UTF-8, trap with words.
#define tg_write(key, value, fields) tg_write_fields(key, value, fields, sizeof fields / sizeof *fields)

bool tg_read_fields(tg_text key, void *value, size_t size, const tg_field *fields, size_t count);
void tg_write_fields(tg_text key, const void *value, const tg_field *fields, size_t count);

#endif
