//! Parts of files: the one range of a `Range` header.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::error::ApiError;

/// The file, or the range of it that is asked for.
///
/// # Errors
/// 416 for anything but one range within the file; `what` names the file then.
pub(super) fn ranged(bytes: &[u8], headers: &HeaderMap, what: &str) -> Result<Response, ApiError> {
    let wanted = headers
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok());
    let total = bytes.len();
    let (status, part) = match wanted.map(|range| byte_range(range, total)) {
        None => (StatusCode::OK, 0..total),
        Some(Some(part)) => (StatusCode::PARTIAL_CONTENT, part),
        Some(None) => {
            return Err(ApiError::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "range",
                format!("{what} has {total} bytes"),
                "ask for one range, `bytes=FIRST-LAST`",
            ));
        }
    };
    let content_range = format!(
        "bytes {}-{}/{total}",
        part.start,
        part.end.saturating_sub(1)
    );
    let mut response = (status, bytes[part].to_vec()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) = HeaderValue::from_str(&content_range)
    {
        headers.insert(header::CONTENT_RANGE, value);
    }
    Ok(response)
}

/// The one range of a `Range` header (RFC 9110, section 14.1.2); none if it is not one, or outside.
fn byte_range(text: &str, total: usize) -> Option<std::ops::Range<usize>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first.is_empty(), last.is_empty()) {
        (true, _) => total.saturating_sub(last.parse().ok()?)..total,
        (false, true) => first.parse().ok()?..total,
        (false, false) => {
            let last: usize = last.parse().ok()?;
            first.parse().ok()?..last.saturating_add(1).min(total)
        }
    };
    (range.start < range.end).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::byte_range;

    #[track_caller]
    fn check(text: &str, expected: Option<(usize, usize)>) {
        let range = byte_range(text, 100).map(|range| (range.start, range.end));
        assert_eq!(range, expected, "{text}");
    }

    #[test]
    fn ranges() {
        check("bytes=0-9", Some((0, 10)));
        check("bytes=90-", Some((90, 100)));
        check("bytes=-5", Some((95, 100)));
        check("bytes=0-1000", Some((0, 100)));
        check("bytes=100-", None);
        check("bytes=9-0", None);
        check("bytes=0-1,5-6", None);
        check("bytes=x-", None);
        check("bytes=0-18446744073709551615", Some((0, 100)));
    }
}
