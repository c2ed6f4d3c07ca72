//! The XML answers of S3-compatible stores, read for the few fields that are needed here.
//!
//! Everything is optional until it was found; an answer that lacks what it must have is unreadable. Names are compared
//! without their namespace, because some stores leave it out.

use roxmltree::{Document, Node};

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) bytes: u64,
}

/// A page of a listing and where the next one begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// The marker (or markers) of the next page.
    pub(super) next: Option<(String, String)>,
}

/// A version of an object, or the mark that it was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) key: String,
    pub(super) version_id: String,
}

/// An upload in parts that was begun and not completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) key: String,
    pub(super) upload_id: String,
}

/// `ListObjectsV2`.
pub(super) fn objects(xml: &[u8]) -> Option<Page<Listed>> {
    page(xml, |root| {
        let items = children(root, &["Contents"])
            .map(|node| Some(Listed { key: text(node, "Key")?, bytes: text(node, "Size")?.parse().ok()? }));
        Some((
            items.collect::<Option<Vec<_>>>()?,
            text(root, "NextContinuationToken").map(|token| (token, String::new())),
        ))
    })
}

/// `ListObjectVersions`.
pub(super) fn versions(xml: &[u8]) -> Option<Page<Version>> {
    page(xml, |root| {
        let items = children(root, &["Version", "DeleteMarker"])
            .map(|node| Some(Version { key: text(node, "Key")?, version_id: text(node, "VersionId")? }));
        let next = text(root, "NextKeyMarker").map(|key| (key, text(root, "NextVersionIdMarker").unwrap_or_default()));
        Some((items.collect::<Option<Vec<_>>>()?, next))
    })
}

/// `ListMultipartUploads`.
pub(super) fn begun(xml: &[u8]) -> Option<Page<Begun>> {
    page(xml, |root| {
        let items = children(root, &["Upload"])
            .map(|node| Some(Begun { key: text(node, "Key")?, upload_id: text(node, "UploadId")? }));
        let next = text(root, "NextKeyMarker").map(|key| (key, text(root, "NextUploadIdMarker").unwrap_or_default()));
        Some((items.collect::<Option<Vec<_>>>()?, next))
    })
}

/// The identifier of an upload in parts that was just begun.
pub(super) fn upload_id(xml: &[u8]) -> Option<String> {
    with_root(xml, |root| text(root, "UploadId"))
}

/// The code of an error, if the answer is one. Anything that does not look like a code is left out: it may be logged.
pub(super) fn error_code(xml: &[u8]) -> Option<String> {
    let code = with_root(xml, |root| if root.tag_name().name() == "Error" { text(root, "Code") } else { None })?;
    (code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(code)
}

fn page<T>(
    xml: &[u8],
    read: impl FnOnce(Node<'_, '_>) -> Option<(Vec<T>, Option<(String, String)>)>,
) -> Option<Page<T>> {
    with_root(xml, |root| {
        let (items, next) = read(root)?;
        let more = text(root, "IsTruncated").is_some_and(|flag| flag == "true");
        // A page that is not the last must say where the next begins, or the rest would be passed over in silence.
        if more && next.is_none() { None } else { Some(Page { items, next: next.filter(|_| more) }) }
    })
}

fn with_root<T>(xml: &[u8], read: impl FnOnce(Node<'_, '_>) -> Option<T>) -> Option<T> {
    let xml = std::str::from_utf8(xml).ok()?;
    let document = Document::parse(xml).ok()?;
    read(document.root_element())
}

fn children<'a, 'i: 'a>(node: Node<'a, 'i>, names: &'static [&'static str]) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| names.contains(&child.tag_name().name()))
}

fn text(node: Node<'_, '_>, name: &str) -> Option<String> {
    let child = node.children().find(|child| child.tag_name().name() == name)?;
    child.text().map(str::to_owned).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions_and_delete_marks_are_found_with_the_next_page() {
        let xml = br#"<?xml version="1.0"?><ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
            <IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker><NextVersionIdMarker>v9</NextVersionIdMarker>
            <Version><Key>a</Key><VersionId>v1</VersionId><Size>3</Size></Version>
            <DeleteMarker><Key>a</Key><VersionId>null</VersionId></DeleteMarker></ListVersionsResult>"#;
        let page = versions(xml).unwrap();
        assert_eq!(page.next, Some(("k".to_owned(), "v9".to_owned())));
        let ids: Vec<&str> = page.items.iter().map(|version| version.version_id.as_str()).collect();
        assert_eq!(ids, ["v1", "null"]);
    }

    #[test]
    fn a_page_that_hides_where_the_next_begins_is_unreadable() {
        assert_eq!(objects(b"<L><IsTruncated>true</IsTruncated></L>"), None);
        assert_eq!(objects(b"<L><Contents><Key>a</Key></Contents></L>"), None);
        assert_eq!(objects(b"<L/>"), Some(Page { items: Vec::new(), next: None }));
        assert_eq!(objects(b"not xml"), None);
    }

    #[test]
    fn an_error_code_is_a_word_or_nothing() {
        assert_eq!(error_code(b"<Error><Code>NoSuchKey</Code></Error>").as_deref(), Some("NoSuchKey"));
        assert_eq!(error_code(b"<Error><Code>Ada Example</Code></Error>"), None);
        assert_eq!(error_code(b"<Done><Code>NoSuchKey</Code></Done>"), None);
    }
}
