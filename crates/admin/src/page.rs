//! The page at `/`: its files are in the binary, and nothing of it comes from elsewhere.

use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// What a browser may do with the page: nothing but what the page itself brings and asks of us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Each file: where it is asked for, what it is, and its bytes, compressed by gzip.
const FILES: [(&str, &str, &[u8]); 3] = [
    ("/", "text/html; charset=utf-8", include_bytes!("../dist/index.html.gz")),
    ("/page.js", "text/javascript; charset=utf-8", include_bytes!("../dist/page.js.gz")),
    ("/page.css", "text/css; charset=utf-8", include_bytes!("../dist/page.css.gz")),
];

/// Whether there is such a file.
pub(crate) fn has(path: &str) -> bool {
    FILES.iter().any(|(at, ..)| *at == path)
}

/// Gives out a file.
pub(crate) async fn file(request: Request) -> Response {
    let path = request.uri().path();
    let found = FILES.iter().find(|(at, ..)| *at == path);
    match found {
        Some((_, kind, bytes)) if [Method::GET, Method::HEAD].contains(request.method()) => {
            let headers = [
                (header::CONTENT_TYPE, *kind),
                (header::CONTENT_ENCODING, "gzip"),
                (header::CONTENT_SECURITY_POLICY, POLICY),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::REFERRER_POLICY, "no-referrer"),
                (header::CACHE_CONTROL, "no-cache"),
            ];
            (headers, *bytes).into_response()
        }
        Some(_) => crate::plain::text(StatusCode::METHOD_NOT_ALLOWED, "this is only to be looked at\n".to_owned()),
        None => {
            crate::plain::text(StatusCode::NOT_FOUND, "there is nothing here; see /api/v1/openapi.json\n".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use std::path::Path;

    /// What is below a folder, each as a path that begins with `./`.
    fn files(folder: &Path, name: &str, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{name}/{}", path.file_name().unwrap().to_str().unwrap());
            match path.is_dir() {
                true if name == "./node_modules" => {}
                true => files(&path, &name, found),
                false => found.push((name, std::fs::read(&path).unwrap())),
            }
        }
    }

    #[test]
    fn the_page_in_the_tree_is_made_of_its_source() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = Vec::new();
        files(&here.join("page"), ".", &mut found);
        found.sort();
        // As scripts/build-page does it with sha256sum.
        let lines = found.iter().map(|(name, bytes)| format!("{:x}  {name}\n", Sha256::digest(bytes)));
        let digest = format!("{:x}", Sha256::digest(lines.collect::<String>()));
        let known = std::fs::read_to_string(here.join("dist/source.sha256")).unwrap();
        assert_eq!(digest, known.trim(), "the page is stale: run scripts/build-page");
    }

    #[test]
    fn the_page_is_small() {
        let bytes: usize = FILES.iter().map(|(.., bytes)| bytes.len()).sum();
        assert!(bytes < 60 * 1024, "{bytes}");
    }
}
