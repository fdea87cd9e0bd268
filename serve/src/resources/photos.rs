//! `dkc://photos`: albums of photos, search, metadata, small pictures.
//!
//! - In: the operations of this family. Out: the addresses of what they answer. Not here: what they do (`operations`).

use super::{Entry, Resource, Variable};
use crate::toolset;

/// The resource.
pub(crate) const RESOURCE: Resource = Resource {
    toolset: &toolset::PHOTOS,
    entries: &[
        Entry {
            uri: "dkc://photos",
            name: "photos",
            title: "Albums",
            about: "The albums.",
            operation: "list_albums",
            fixed: &[],
            variables: &[],
        },
        Entry {
            uri: "dkc://photos/search{?q,camera,taken_after,taken_before,near,album}",
            name: "photos-search",
            title: "Search in photos",
            about: "Photos by words, camera, time, place and album.",
            operation: "search_photos",
            fixed: &[],
            variables: &[
                Variable::free("q"),
                Variable::of("camera", "photos", "camera_model"),
                Variable::free("taken_after"),
                Variable::free("taken_before"),
                Variable::free("near"),
                Variable::of("album", "photos", "album"),
            ],
        },
        Entry {
            uri: "dkc://photos/photo/{item}",
            name: "photos-photo",
            title: "A photo",
            about: "All that is known of a photo.",
            operation: "get_photo_metadata",
            fixed: &[],
            variables: &[Variable::free("item")],
        },
        Entry {
            uri: "dkc://photos/thumbnail/{item}",
            name: "photos-thumbnail",
            title: "A small picture",
            about: "A photo, small, as JPEG.",
            operation: "get_thumbnail",
            fixed: &[("dataset", "photos")],
            variables: &[Variable::free("item")],
        },
    ],
};
