//! What the guest of [`crate::guest`] can be made to import beside the log.

/// Text that goes into the component at five places: its imports, the functions made of them, what the core module is
/// given, what the core module imports, and what it does for a message.
pub(crate) type Pieces = (&'static str, &'static str, &'static str, &'static str, &'static str);

pub(crate) const SLEEP: Pieces = (
    r#"(import "wasi:io/poll@0.2.3" (instance $poll
        (export "pollable" (type $pollable (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:clocks/monotonic-clock@0.2.6" (instance $clock
        (alias outer 1 $pollable (type $outer))
        (export "pollable" (type $pollable (eq $outer)))
        (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
    (import "wasi:filesystem/types@0.2.0" (instance
        (export "descriptor" (type $descriptor (sub resource)))
        (export "[method]descriptor.sync-data" (func (param "self" (borrow $descriptor)) (result bool)))))
    (import "wasi:cli/environment@0.2.0" (instance
        (export "get-environment" (func (result (list (tuple string string)))))))"#,
    r#"(core func $subscribe (canon lower (func $clock "subscribe-duration")))
    (core func $block (canon lower (func $poll "[method]pollable.block")))
    (core func $drop (canon resource.drop $pollable))"#,
    r#"(export "subscribe" (func $subscribe)) (export "block" (func $block)) (export "drop" (func $drop))"#,
    r#"(import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "block" (func $block (param i32)))
    (import "host" "drop" (func $drop (param i32)))
    (func $sleep (param $ns i64) (local $pollable i32)
        (local.set $pollable (call $subscribe (local.get $ns)))
        (call $block (local.get $pollable))
        (call $drop (local.get $pollable)))"#,
    r#"(if (i32.eq (local.get $do) (i32.const 115)) (then (call $sleep (i64.const 10000000000))))
    (if (i32.eq (local.get $do) (i32.const 110)) (then (call $sleep (i64.const 1000000))))"#,
);

pub(crate) const STATE: Pieces = (
    r#"(import "tidegate:gateway/state@0.1.0" (instance $state
        (export "set" (func (param "key" string) (param "value" (list u8))))))"#,
    r#"(core func $set (canon lower (func $state "set") (memory (core memory $libc "memory"))))"#,
    r#"(export "set" (func $set))"#,
    r#"(import "host" "set" (func $set (param i32 i32 i32 i32)))
    (data (i32.const 16) "kv")
    (func $put (call $set (i32.const 16) (i32.const 1) (i32.const 17) (i32.const 1)))"#,
    r#"(if (i32.eq (local.get $do) (i32.const 83)) (then (call $put)))
    (if (i32.eq (local.get $do) (i32.const 84)) (then (call $put) unreachable))"#,
);

pub(crate) const TOUR: Pieces = (
    r#"(import "wasi:io/error@0.2.2" (instance $error
        (export "error" (type $error (sub resource)))
        (export "[method]error.to-debug-string" (func (param "self" (borrow $error)) (result string)))))
    (alias export $error "error" (type $error))
    (import "wasi:io/poll@0.2.2" (instance $poll
        (export "pollable" (type $pollable (sub resource)))
        (export "[method]pollable.ready" (func (param "self" (borrow $pollable)) (result bool)))
        (export "[method]pollable.block" (func (param "self" (borrow $pollable))))
        (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:io/streams@0.2.2" (instance $streams
        (export "input-stream" (type $in (sub resource)))
        (export "output-stream" (type $out (sub resource)))
        (alias outer 1 $error (type $error))
        (export "error" (type $e (eq $error)))
        (alias outer 1 $pollable (type $pollable))
        (export "pollable" (type $p (eq $pollable)))
        (type $stream-error' (variant (case "last-operation-failed" (own $e)) (case "closed")))
        (export "stream-error" (type $stream-error (eq $stream-error')))
        (type $read (func (param "self" (borrow $in)) (param "len" u64) (result (result (list u8) (error $stream-error)))))
        (type $skip (func (param "self" (borrow $in)) (param "len" u64) (result (result u64 (error $stream-error)))))
        (type $write (func (param "self" (borrow $out)) (param "contents" (list u8)) (result (result (error $stream-error)))))
        (type $zeroes (func (param "self" (borrow $out)) (param "len" u64) (result (result (error $stream-error)))))
        (type $flush (func (param "self" (borrow $out)) (result (result (error $stream-error)))))
        (type $splice (func (param "self" (borrow $out)) (param "src" (borrow $in)) (param "len" u64)
            (result (result u64 (error $stream-error)))))
        (export "[method]input-stream.read" (func (type $read)))
        (export "[method]input-stream.blocking-read" (func (type $read)))
        (export "[method]input-stream.skip" (func (type $skip)))
        (export "[method]input-stream.blocking-skip" (func (type $skip)))
        (export "[method]input-stream.subscribe" (func (param "self" (borrow $in)) (result (own $p))))
        (export "[method]output-stream.check-write" (func (param "self" (borrow $out))
            (result (result u64 (error $stream-error)))))
        (export "[method]output-stream.write" (func (type $write)))
        (export "[method]output-stream.blocking-write-and-flush" (func (type $write)))
        (export "[method]output-stream.write-zeroes" (func (type $zeroes)))
        (export "[method]output-stream.blocking-write-zeroes-and-flush" (func (type $zeroes)))
        (export "[method]output-stream.flush" (func (type $flush)))
        (export "[method]output-stream.blocking-flush" (func (type $flush)))
        (export "[method]output-stream.splice" (func (type $splice)))
        (export "[method]output-stream.blocking-splice" (func (type $splice)))
        (export "[method]output-stream.subscribe" (func (param "self" (borrow $out)) (result (own $p))))))
    (alias export $streams "input-stream" (type $in))
    (alias export $streams "output-stream" (type $out))
    (import "wasi:cli/stdin@0.2.2" (instance
        (alias outer 1 $in (type $in)) (export "input-stream" (type $s (eq $in)))
        (export "get-stdin" (func (result (own $s))))))
    (import "wasi:cli/stdout@0.2.2" (instance $stdout
        (alias outer 1 $out (type $out)) (export "output-stream" (type $s (eq $out)))
        (export "get-stdout" (func (result (own $s))))))
    (import "wasi:cli/stderr@0.2.2" (instance $stderr
        (alias outer 1 $out (type $out)) (export "output-stream" (type $s (eq $out)))
        (export "get-stderr" (func (result (own $s))))))
    (import "wasi:cli/terminal-input@0.2.2" (instance $terminal (export "terminal-input" (type (sub resource)))))
    (alias export $terminal "terminal-input" (type $terminal-input))
    (import "wasi:cli/terminal-stdin@0.2.2" (instance
        (alias outer 1 $terminal-input (type $t')) (export "terminal-input" (type $t (eq $t')))
        (export "get-terminal-stdin" (func (result (option (own $t)))))))
    (import "wasi:cli/environment@0.2.2" (instance $environment
        (export "get-environment" (func (result (list (tuple string string)))))
        (export "get-arguments" (func (result (list string))))
        (export "initial-cwd" (func (result (option string))))))
    (import "wasi:cli/exit@0.2.2" (instance $exit
        (export "exit" (func (param "status" (result))))
        (export "exit-with-code" (func (param "status-code" u8)))))
    (import "wasi:clocks/monotonic-clock@0.2.2" (instance
        (alias outer 1 $pollable (type $pollable)) (export "pollable" (type $p (eq $pollable)))
        (export "now" (func (result u64)))
        (export "resolution" (func (result u64)))
        (export "subscribe-instant" (func (param "when" u64) (result (own $p))))))
    (import "wasi:clocks/wall-clock@0.2.2" (instance
        (type $datetime' (record (field "seconds" u64) (field "nanoseconds" u32)))
        (export "datetime" (type $datetime (eq $datetime')))
        (export "now" (func (result $datetime)))
        (export "resolution" (func (result $datetime)))))
    (import "wasi:random/random@0.2.2" (instance $random
        (export "get-random-bytes" (func (param "len" u64) (result (list u8))))
        (export "get-random-u64" (func (result u64)))))
    (import "wasi:random/insecure-seed@0.2.2" (instance (export "insecure-seed" (func (result (tuple u64 u64))))))
    (import "wasi:filesystem/types@0.2.2" (instance $files
        (export "descriptor" (type $descriptor (sub resource)))
        (alias outer 1 $error (type $error')) (export "error" (type $error (eq $error')))
        (type $code' (enum "access" "not-permitted")) (export "error-code" (type $code (eq $code')))
        (export "filesystem-error-code" (func (param "err" (borrow $error)) (result (option $code))))
        (export "[method]descriptor.sync" (func (param "self" (borrow $descriptor)) (result (result (error $code)))))))
    (alias export $files "descriptor" (type $descriptor))
    (import "wasi:filesystem/preopens@0.2.2" (instance $preopens
        (alias outer 1 $descriptor (type $descriptor')) (export "descriptor" (type $descriptor (eq $descriptor')))
        (export "get-directories" (func (result (list (tuple (own $descriptor) string)))))))
    (import "wasi:sockets/network@0.2.2" (instance $network
        (export "network" (type $network (sub resource)))
        (type $code' (enum "unknown" "access-denied")) (export "error-code" (type $code (eq $code')))))
    (alias export $network "network" (type $network))
    (alias export $network "error-code" (type $socket-error))
    (import "wasi:sockets/instance-network@0.2.2" (instance $instance-network
        (alias outer 1 $network (type $network')) (export "network" (type $network (eq $network')))
        (export "instance-network" (func (result (own $network))))))
    (import "wasi:sockets/ip-name-lookup@0.2.2" (instance $lookup
        (export "resolve-address-stream" (type $stream (sub resource)))
        (alias outer 1 $network (type $network')) (export "network" (type $network (eq $network')))
        (alias outer 1 $socket-error (type $code')) (export "error-code" (type $code (eq $code')))
        (export "resolve-addresses" (func (param "network" (borrow $network)) (param "name" string)
            (result (result (own $stream) (error $code)))))))
    (import "wasi:http/outgoing-handler@0.2.2" (instance (export "handle" (func (param "request" u32)))))"#,
    r#"(core func $random (canon lower (func $random "get-random-u64")))
    (core func $environment (canon lower (func $environment "get-environment")
        (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
    (core func $preopens (canon lower (func $preopens "get-directories")
        (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
    (core func $exit (canon lower (func $exit "exit")))
    (core func $stdout (canon lower (func $stdout "get-stdout")))
    (core func $stderr (canon lower (func $stderr "get-stderr")))
    (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
        (memory (core memory $libc "memory"))))
    (core func $network (canon lower (func $instance-network "instance-network")))
    (core func $resolve (canon lower (func $lookup "resolve-addresses") (memory (core memory $libc "memory"))))
    (core func $drop-out (canon resource.drop $out))
    (core func $drop-network (canon resource.drop $network))"#,
    r#"(export "random" (func $random)) (export "environment" (func $environment)) (export "preopens" (func $preopens))
    (export "exit" (func $exit)) (export "stdout" (func $stdout)) (export "stderr" (func $stderr)) (export "write" (func $write))
    (export "network" (func $network)) (export "resolve" (func $resolve))
    (export "drop-out" (func $drop-out)) (export "drop-network" (func $drop-network))"#,
    r#"(import "host" "random" (func $random (result i64)))
    (import "host" "environment" (func $environment (param i32)))
    (import "host" "preopens" (func $preopens (param i32)))
    (import "host" "exit" (func $exit (param i32)))
    (import "host" "stdout" (func $stdout (result i32)))
    (import "host" "stderr" (func $stderr (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "network" (func $network (result i32)))
    (import "host" "resolve" (func $resolve (param i32 i32 i32 i32)))
    (import "host" "drop-out" (func $drop-out (param i32)))
    (import "host" "drop-network" (func $drop-network (param i32)))
    (func $assert (param i32) (if (i32.eqz (local.get 0)) (then unreachable)))
    (func $look (local $handle i32)
        (call $assert (i64.ne (call $random) (call $random)))
        (i32.store (i32.const 100) (i32.const 7))
        (call $environment (i32.const 96))
        (call $assert (i32.eqz (i32.load (i32.const 100))))
        (i32.store (i32.const 100) (i32.const 7))
        (call $preopens (i32.const 96))
        (call $assert (i32.eqz (i32.load (i32.const 100))))
        (local.set $handle (call $stdout))
        (call $write (local.get $handle) (i32.const 32) (i32.const 13) (i32.const 96))
        (call $assert (i32.eqz (i32.load8_u (i32.const 96))))
        (call $drop-out (local.get $handle))
        (local.set $handle (call $network))
        (call $resolve (local.get $handle) (i32.const 32) (i32.const 13) (i32.const 96))
        (call $assert (i32.load8_u (i32.const 96)))
        (call $assert (i32.load8_u (i32.const 100)))
        (call $drop-network (local.get $handle)))"#,
    r#"(if (i32.eq (local.get $do) (i32.const 118)) (then (call $look)))
    (if (i32.eq (local.get $do) (i32.const 119)) (then
        (call $write (call $stderr) (i32.const 32) (i32.const 13) (i32.const 96))
        unreachable))
    (if (i32.eq (local.get $do) (i32.const 120)) (then (call $exit (i32.const 1))))"#,
);
