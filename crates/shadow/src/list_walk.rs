//! The keys of an origin in the order of bytes, whether it lists them so or by directories.
//!
//! Pages are read as the origin lists them. Of a page, everything can be shown in the order of bytes at once but the directories that may have
//! neighbours still to come: those that the page ends in, of which one request tells, and those among whose neighbours it ends. Such a directory
//! is *held*: passed over, and read by itself once its neighbours have been shown. So nothing is read twice but what is held, nothing is kept but
//! a page or two, and a listing can begin at any key: the directories that it would hold there follow from the key.

use std::{collections::VecDeque, mem};

use umbra_core::{Error, ErrorKind, Result};
use umbra_store::ListedObject;

use crate::{
    list_advance::{Advance, EMPTY_PAGES_FOR_ONE_MAX},
    list_order::{Shown, end_of_directory, end_of_neighbours, is_in_directory, is_neighbour, names_around, names_before},
    origin::{ListOrder, Origin, OriginList, OriginPage, ShadowPath},
};

/// What one step of a walk came to.
pub(crate) enum Step {
    /// More keys, in the order of bytes, all behind those before. There may be none.
    Keys(Vec<ListedObject>),
    /// The origin turned out to list in the order of bytes: nothing needs to be held.
    InBytes,
    /// There are no more.
    End,
}

/// A walk through the keys that begin with a prefix.
#[derive(Debug)]
pub(crate) struct Walk {
    frames: Vec<Frame>,
    /// The last key shown, or the one to begin behind.
    cursor: Option<String>,
    limit: usize,
}

/// One stretch of the origin's listing: the whole, or a directory that was held.
#[derive(Debug)]
struct Frame {
    prefix: String,
    /// Directories to be read when their neighbours have been shown, each among the neighbours of the one before.
    held: Vec<String>,
    /// Keys that were read and not yet looked at.
    page: VecDeque<ListedObject>,
    /// Where the next page begins: behind the last key looked at, or where a token says.
    after: Option<String>,
    token: Option<String>,
    shown: Shown,
    advance: Advance,
    is_read: bool,
}

impl Frame {
    fn new(prefix: String, after: Option<String>, held: Vec<String>) -> Self {
        let shown = Shown::behind(after.clone());
        Self { prefix, held, page: VecDeque::new(), after, token: None, shown, advance: Advance::default(), is_read: false }
    }

    /// Goes on behind `after` instead of where the last page ended.
    fn jump(&mut self, after: String) {
        self.shown = Shown::behind(Some(after.clone()));
        (self.after, self.token) = (Some(after), None);
    }

    /// Forgets what was read and not looked at: it can be read again.
    fn forget_page(&mut self) {
        if !self.page.is_empty() {
            self.page.clear();
            self.is_read = false;
            self.token = None;
            self.shown = Shown::behind(self.after.clone());
        }
    }

    /// Takes what may be looked at now: up to the first key that is not about the directory held last. Tells whether nothing of it is to come.
    fn take(&mut self) -> (Vec<ListedObject>, bool) {
        let is_about = |name: &String, key: &str| is_neighbour(name, key) || is_in_directory(name, key);
        let end = self.held.last().and_then(|name| self.page.iter().position(|object| !is_about(name, object.key.as_str())));
        let (taken, is_whole) = match end {
            Some(end) => (self.page.drain(..end).collect(), true),
            None => (Vec::from(mem::take(&mut self.page)), self.is_read),
        };
        if let Some(last) = taken.last() {
            self.after = Some(last.key.as_str().to_owned());
        }
        (taken, is_whole)
    }
}

impl Walk {
    /// A walk through the keys that begin with `prefix`, behind `after` in the order of bytes, `limit` at a time.
    pub(crate) fn new(prefix: &str, after: Option<String>, limit: usize) -> Self {
        let is_over = after.as_ref().is_some_and(|after| after.as_str() > prefix && !after.starts_with(prefix));
        let within = after.clone().filter(|after| after.starts_with(prefix) && after != prefix);
        let mut held: Vec<String> = within.iter().flat_map(|after| names_before(after, prefix.len())).map(str::to_owned).collect();
        // Some origins pass over the directory of the name they are told to go on behind.
        held.extend(within.clone());
        let frames = if is_over { Vec::new() } else { vec![Frame::new(prefix.to_owned(), within, held)] };
        Self { frames, cursor: after, limit }
    }

    /// The last key shown.
    pub(crate) const fn cursor(&self) -> Option<&String> {
        self.cursor.as_ref()
    }

    /// Takes one step, which costs a request or a few.
    pub(crate) async fn step(&mut self, origin: &dyn Origin, path: &ShadowPath) -> Result<Step> {
        let Some(frame) = self.frames.last_mut() else { return Ok(Step::End) };
        if frame.page.is_empty() && !frame.is_read && read(frame, origin, path, self.limit).await? == ListOrder::Bytes {
            return Ok(Step::InBytes);
        }
        let (mut taken, is_whole) = frame.take();
        let last = taken.last().map(|object| object.key.as_str().to_owned());
        let cursor = self.cursor.as_ref();
        taken.retain(|object| cursor.is_none_or(|cursor| object.key.as_str() > cursor.as_str()));
        if !is_whole && let Some(last) = &last {
            let found = unfinished(frame, &taken, last, cursor, origin, path).await?;
            frame.held.extend(found);
        }
        taken.retain(|object| !frame.held.iter().any(|name| is_in_directory(name, object.key.as_str())));
        if is_whole {
            self.descend();
        } else if let Some(last) = &last {
            let passed =
                cursor.and_then(|cursor| names_around(cursor, 0).find(|name| is_in_directory(name, cursor) && is_neighbour(name, last)));
            if let Some(name) = frame.held.iter().find(|name| is_in_directory(name, last)) {
                frame.jump(end_of_directory(name));
            } else if let Some(name) = passed.filter(|_| taken.is_empty()) {
                frame.jump(end_of_neighbours(name));
            }
        }
        taken.sort_by(|left, right| left.key.as_bytes().cmp(right.key.as_bytes()));
        self.cursor = taken.last().map(|object| object.key.as_str().to_owned()).or(self.cursor.take());
        Ok(Step::Keys(taken))
    }

    /// Turns to the directory held last, or back from one that is read.
    fn descend(&mut self) {
        let Some(frame) = self.frames.last_mut() else { return };
        match frame.held.pop() {
            Some(name) => {
                // One page is kept to come back to, and no more, however deep this goes.
                let depth = self.frames.len();
                self.frames.iter_mut().take(depth - 1).for_each(Frame::forget_page);
                self.frames.push(Frame::new(format!("{name}/"), None, Vec::new()));
            }
            None => drop(self.frames.pop()),
        }
    }
}

/// Reads the next page of a frame. Gives the order the origin is now known to list in.
async fn read(frame: &mut Frame, origin: &dyn Origin, path: &ShadowPath, limit: usize) -> Result<ListOrder> {
    let list =
        OriginList { prefix: frame.prefix.clone(), delimiter: String::new(), after: frame.after.clone(), token: frame.token.take(), limit };
    let mut page = origin.list(path, &list).await?;
    only_under(&frame.prefix, &mut page)?;
    // Told to go on behind a key, an origin may show it once more.
    page.objects.retain(|object| list.token.is_some() || frame.after.as_deref() != Some(object.key.as_str()));
    let known = origin.order();
    let order = frame.shown.take(known, &[page.objects.iter().map(|object| object.key.as_str()).collect()])?;
    if order != known {
        origin.learn_order(order);
    }
    frame.advance.take(page.objects.is_empty(), page.next.as_deref())?;
    frame.is_read = page.next.is_none();
    frame.token = page.next;
    frame.page = page.objects.into();
    Ok(order)
}

/// Takes an origin at its word only for keys under the prefix it was asked for. SeaweedFS reads `a//` as `a/`: then there are none under it.
/// Who shows others for another reason does not tell what is there.
pub(crate) fn only_under(prefix: &str, page: &mut OriginPage) -> Result<()> {
    let Some(stray) = page.objects.iter().find(|object| !object.key.as_str().starts_with(prefix)) else { return Ok(()) };
    let mut read_as = prefix.to_owned();
    while read_as.contains("//") {
        read_as = read_as.replace("//", "/");
    }
    if read_as == prefix || !stray.key.as_str().starts_with(&read_as) {
        let message = format!("the origin lists {:?}, which was not asked for, among the keys under {prefix:?}", stray.key.as_str());
        return Err(Error::new(ErrorKind::OriginUnavailable, message));
    }
    page.objects.retain(|object| object.key.as_str().starts_with(prefix));
    page.next = None;
    Ok(())
}

/// The directories not held yet of which neighbours may be to come behind `last`, where a page ended.
async fn unfinished(
    frame: &Frame,
    taken: &[ListedObject],
    last: &str,
    cursor: Option<&String>,
    origin: &dyn Origin,
    path: &ShadowPath,
) -> Result<Vec<String>> {
    let mut found = Vec::new();
    if frame.held.iter().any(|name| is_in_directory(name, last)) {
        return Ok(found);
    }
    let min = frame.held.last().map_or(frame.prefix.len(), |name| name.len() + 1);
    for name in names_around(last, min) {
        if is_neighbour(name, last) {
            if taken.iter().any(|object| is_in_directory(name, object.key.as_str())) {
                found.push(name.to_owned());
            }
            continue;
        }
        // What of a directory has been shown already has been shown behind its neighbours.
        if cursor.is_some_and(|cursor| is_in_directory(name, cursor)) {
            continue;
        }
        if has_neighbours(name, origin, path).await? {
            found.push(name.to_owned());
            break;
        }
    }
    Ok(found)
}

/// Whether a name has neighbours behind its directory. An origin that lists in the order of bytes has none there.
async fn has_neighbours(name: &str, origin: &dyn Origin, path: &ShadowPath) -> Result<bool> {
    let mut list = OriginList { prefix: name.to_owned(), after: Some(end_of_directory(name)), limit: 1, ..OriginList::default() };
    let mut advance = Advance::new(EMPTY_PAGES_FOR_ONE_MAX);
    loop {
        let mut page = origin.list(path, &list).await?;
        only_under(name, &mut page)?;
        advance.take(page.objects.is_empty(), page.next.as_deref())?;
        match (page.objects.first(), page.next) {
            (Some(object), _) => return Ok(is_neighbour(name, object.key.as_str())),
            (None, Some(token)) => list.token = Some(token),
            (None, None) => return Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use umbra_core::{ETag, ErrorKind, ObjectKey, Timestamp};
    use umbra_store::ListedObject;

    use super::only_under;
    use crate::origin::OriginPage;

    fn shown(prefix: &str, keys: &[&str]) -> Result<(usize, bool), ErrorKind> {
        let object = |key: &&str| ListedObject {
            key: ObjectKey::parse(key).unwrap(),
            size: 1,
            etag: ETag::parse("e"),
            last_modified: Timestamp::default(),
            storage_class: None,
        };
        let mut page = OriginPage { objects: keys.iter().map(object).collect(), next: Some("more".into()), ..OriginPage::default() };
        only_under(prefix, &mut page).map_err(|error| error.kind())?;
        Ok((page.objects.len(), page.next.is_some()))
    }

    #[test]
    fn keys_that_were_not_asked_for_do_not_end_a_listing_unnoticed() {
        assert_eq!(shown("a/", &["a/1", "a/2"]), Ok((2, true)));
        assert_eq!(shown("a//", &["a/1", "a/2"]), Ok((0, false)), "read as `a/`: there are none");
        assert_eq!(shown("a/", &["a/1", "b"]), Err(ErrorKind::OriginUnavailable));
        assert_eq!(shown("a//", &["b/1"]), Err(ErrorKind::OriginUnavailable));
    }
}
