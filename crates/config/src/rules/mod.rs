//! What the sections of a configuration say of each other.

mod both_ways;
mod loops;
mod names;
mod overlap;
mod preset;
mod remap;
mod retained;
mod route;
mod share;
mod unused;

use crate::sections::Draft;
use crate::tree::Context;

/// Reports names that refer to nothing, or to the wrong thing, and what cannot work together.
pub(crate) fn check(context: &Context<'_>, draft: &Draft) {
    names::check(context, draft);
    for (route, written) in draft.routes() {
        route::check(context, &draft.config, route, written);
        remap::check(context, &draft.config, route, written);
    }
    loops::check(context, draft);
    // A name that is written wrongly makes another seem unused.
    if context.findings.errors() == 0 {
        unused::check(context, draft);
        retained::check(context, draft);
        share::check(context, draft);
        overlap::check(context, draft);
        both_ways::check(context, draft);
        preset::check(context, draft);
    }
}
