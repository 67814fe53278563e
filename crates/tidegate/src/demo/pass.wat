;; The smallest plugin: it lets every message pass, and takes any configuration. The demo's `plugins/spare/pass.wasm`.
;;
;; Two functions that answer with the numbers of `pass` and `accepted` in the canonical ABI of wit/gateway.wit. The binary
;; beside this file is made of it, which a test in demo.rs checks, and does when TIDEGATE_WRITE_GOLDEN is set.
(component
    (import "tidegate:gateway/types@1.0.0" (instance $types
        (type $qos' (enum "at-most-once" "at-least-once" "exactly-once"))
        (export "qos" (type $qos (eq $qos')))
        (type $properties' (record
            (field "content-type" (option string)) (field "response-topic" (option string))
            (field "correlation-data" (option (list u8))) (field "message-expiry-seconds" (option u32))
            (field "payload-is-utf8" bool) (field "user" (list (tuple string string)))))
        (export "properties" (type $properties (eq $properties')))
        (type $message' (record
            (field "id" u64) (field "topic" string) (field "payload" (list u8)) (field "qos" $qos)
            (field "retain" bool) (field "properties" $properties) (field "received-ms" u64)
            (field "redelivered" bool)))
        (export "message" (type $message (eq $message')))
        (type $destination' (variant (case "target" string) (case "onward")))
        (export "destination" (type $destination (eq $destination')))
        (type $property' (enum
            "every" "content-type" "response-topic" "correlation-data" "message-expiry" "payload-is-utf8" "user"))
        (export "property" (type $property (eq $property')))
        (type $change' (variant
            (case "topic" string) (case "payload" (list u8)) (case "qos" $qos) (case "retain" bool)
            (case "content-type" string) (case "response-topic" string) (case "correlation-data" (list u8))
            (case "message-expiry-seconds" f64) (case "payload-is-utf8" bool)
            (case "user-property" (tuple string string)) (case "remove" $property) (case "key" string)))
        (export "change" (type $change (eq $change')))
        (type $output' (record (field "to" $destination) (field "changes" (list $change))))
        (export "output" (type $output (eq $output')))
        (type $decision' (variant
            (case "drop" string) (case "forward" (list $output)) (case "pass") (case "reject" string)
            (case "retry" string)))
        (export "decision" (type $decision (eq $decision')))
        (type $diagnostic' (record (field "at" string) (field "message" string)))
        (export "diagnostic" (type $diagnostic (eq $diagnostic')))
        (type $verdict' (variant (case "refused" (list $diagnostic)) (case "accepted")))
        (export "verdict" (type $verdict (eq $verdict')))))
    (alias export $types "message" (type $message))
    (alias export $types "decision" (type $decision))
    (alias export $types "verdict" (type $verdict))

    (core module $main'
        (memory (export "memory") 1)
        ;; Below it: where an answer is found, from 16.
        (global $heap (mut i32) (i32.const 64))

        ;; Gives the next piece; never takes one back but all at the end of a call. The arguments after the first two are
        ;; alignment, of which 8 is the most, and length in bytes.
        (func $realloc (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32) (local $end i32)
            (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
            (local.set $end (i32.add (local.get $at) (local.get 3)))
            (if (i32.gt_u (local.get $end) (i32.mul (memory.size) (i32.const 65536))) (then
                (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.const 1) (i32.shr_u
                        (i32.sub (local.get $end) (i32.mul (memory.size) (i32.const 65536))) (i32.const 16)))))
                    (then unreachable))))
            (global.set $heap (local.get $end))
            (local.get $at))

        ;; `accepted`, a discriminant of 1, at 32.
        (data (i32.const 32) "\01")
        (func (export "configure") (param i32 i32) (result i32)
            (global.set $heap (i32.const 64))
            (i32.const 32))

        ;; A list of as many `pass` as there are messages, 12 bytes each, of which the first, the discriminant, is 2.
        (func (export "handle") (param i32 i32) (param i32) (param $count i32) (result i32)
            (local $decisions i32) (local $at i32) (local $end i32)
            (local.set $decisions (call $realloc (i32.const 0) (i32.const 0) (i32.const 8)
                (i32.mul (local.get $count) (i32.const 12))))
            (local.set $at (local.get $decisions))
            (local.set $end (i32.add (local.get $at) (i32.mul (local.get $count) (i32.const 12))))
            (block $done (loop $next
                (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
                (i32.store8 (local.get $at) (i32.const 2))
                (local.set $at (i32.add (local.get $at) (i32.const 12)))
                (br $next)))
            (i32.store (i32.const 16) (local.get $decisions))
            (i32.store (i32.const 20) (local.get $count))
            ;; The host reads the answer before it calls again.
            (global.set $heap (i32.const 64))
            (i32.const 16)))
    (core instance $main (instantiate $main'))

    (func $configure (param "config" string) (result $verdict)
        (canon lift (core func $main "configure") (memory (core memory $main "memory")) (realloc (core func $main "realloc"))))
    (func $handle (param "source" string) (param "messages" (list $message))
        (result (list $decision))
        (canon lift (core func $main "handle") (memory (core memory $main "memory")) (realloc (core func $main "realloc"))))
    (instance $handler (export "configure" (func $configure)) (export "handle" (func $handle)))
    (export "tidegate:gateway/handler@1.0.0" (instance $handler)))
