//! What one origin says of a photo, and how several origins become one answer.
//!
//! - In: facts of the file's Exif, its XMP, its container, a sidecar, Google Takeout.
//! - Out: the columns of a [`Photo`] that come from metadata; each time and place with the name of its origin.
//! - Not here: reading any of these.

use super::when::{Clock, zone_of};
use schemas::Instant;
use schemas::datasets::photos::Photo;

/// A time of taking, as one tag gives it. The order of `rank` is the order of trust.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Taken {
    pub rank: Rank,
    pub clock: Clock,
    /// The tag.
    pub source: String,
    /// The tag that gave the clock its offset.
    pub offset_source: Option<String>,
}

/// What kind of time a tag holds, the most trusted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// When the picture was taken.
    Original,
    /// The same, copied into XMP.
    OriginalCopy,
    /// When it became digital: the same for a digital camera, later for a scan.
    Digitized,
    /// When a container was begun.
    Created,
    /// What Google made of all that.
    Takeout,
    /// The last change.
    Changed,
}

/// Where a photo was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    pub latitude: f64,
    pub longitude: f64,
    pub source: &'static str,
}

impl Place {
    /// A place on earth. `None`: no such degrees.
    pub fn new(latitude: f64, longitude: f64, source: &'static str) -> Option<Self> {
        let fits = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
        fits.then_some(Self {
            latitude,
            longitude,
            source,
        })
    }
}

/// What one origin says, or several together.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Facts {
    pub times: Vec<Taken>,
    /// Moments of taking in UTC, which tell a clock's offset, with their origin.
    pub moments: Vec<(Instant, &'static str)>,
    /// Places, the most trusted first.
    pub place: Option<Place>,
    pub altitude_m: Option<f64>,
    pub make: Option<String>,
    pub model: Option<String>,
    pub lens: Option<String>,
    pub software: Option<String>,
    pub focal_length_mm: Option<f64>,
    pub f_number: Option<f64>,
    pub exposure_s: Option<f64>,
    pub iso: Option<i64>,
    pub orientation: Option<i64>,
    pub size: Option<(i64, i64)>,
    pub duration_s: Option<f64>,
    pub title: Option<String>,
    pub caption: Option<String>,
    pub tags: Vec<String>,
    pub people: Vec<String>,
    pub rating: Option<i64>,
    pub album: Option<String>,
    pub problems: Vec<String>,
}

impl Facts {
    /// Takes from `other` what is not known yet; lists are joined.
    pub fn add(&mut self, other: Facts) {
        fn fill<T>(mine: &mut Option<T>, other: Option<T>) {
            if mine.is_none() {
                *mine = other;
            }
        }
        // Another origin's height does not belong to this place.
        match (self.place, other.place) {
            (None, Some(place)) => {
                self.place = Some(place);
                self.altitude_m = other.altitude_m;
            }
            (None, None) => fill(&mut self.altitude_m, other.altitude_m),
            (Some(_), _) => {}
        }
        fill(&mut self.make, other.make);
        fill(&mut self.model, other.model);
        fill(&mut self.lens, other.lens);
        fill(&mut self.software, other.software);
        fill(&mut self.focal_length_mm, other.focal_length_mm);
        fill(&mut self.f_number, other.f_number);
        fill(&mut self.exposure_s, other.exposure_s);
        fill(&mut self.iso, other.iso);
        fill(&mut self.orientation, other.orientation);
        fill(&mut self.size, other.size);
        fill(&mut self.duration_s, other.duration_s);
        fill(&mut self.title, other.title);
        fill(&mut self.caption, other.caption);
        fill(&mut self.rating, other.rating);
        fill(&mut self.album, other.album);
        self.times.extend(other.times);
        self.moments.extend(other.moments);
        self.tags.extend(other.tags);
        self.people.extend(other.people);
        self.problems.extend(other.problems);
    }

    /// Writes these facts into the columns of `photo`.
    pub fn tell(mut self, photo: &mut Photo) {
        // The first of the most trusted: origins were added in their order.
        let best = self.times.iter().min_by_key(|taken| taken.rank).cloned();
        if let Some(taken) = best {
            let (offset, source) = self.offset_of(&taken);
            photo.taken_at = Some(taken.clock.at);
            photo.taken_source = Some(taken.source);
            photo.taken_offset_min = offset;
            photo.offset_source = source;
            photo.taken_at_utc = offset.map(|minutes| taken.clock.at - minutes * 60_000_000);
        }
        if let Some(place) = self.place {
            photo.latitude = Some(place.latitude);
            photo.longitude = Some(place.longitude);
            photo.location_source = Some(place.source);
        }
        for texts in [&mut self.tags, &mut self.people] {
            texts.sort_unstable();
            texts.dedup();
        }
        photo.altitude_m = self.altitude_m;
        photo.camera_make = self.make;
        photo.camera_model = self.model;
        photo.lens = self.lens;
        photo.software = self.software;
        photo.focal_length_mm = self.focal_length_mm;
        photo.f_number = self.f_number;
        photo.exposure_s = self.exposure_s;
        photo.iso = self.iso;
        photo.orientation = self.orientation;
        (photo.width, photo.height) = self.size.unzip();
        photo.duration_s = self.duration_s;
        photo.title = self.title;
        photo.caption = self.caption;
        photo.tags = self.tags;
        photo.people = self.people;
        photo.rating = self.rating;
        photo.album = self.album;
        photo.problem = (!self.problems.is_empty()).then(|| self.problems.join("; "));
    }

    /// The offset of a clock, and what says so: its own, else that of the same moment in another tag, else the
    /// distance to a moment in UTC.
    fn offset_of(&self, taken: &Taken) -> (Option<i64>, Option<String>) {
        let with_offset = |taken: &Taken| {
            let source = taken
                .offset_source
                .clone()
                .unwrap_or_else(|| taken.source.clone());
            taken
                .clock
                .offset_min
                .map(|minutes| (Some(minutes), Some(source)))
        };
        let same =
            |other: &&Taken| other.clock.at.div_euclid(1_000_000) == taken.clock.at.div_euclid(1_000_000);
        let mut stated = std::iter::once(taken).chain(self.times.iter().filter(same));
        if let Some(found) = stated.find_map(with_offset) {
            return found;
        }
        let mut moments = self.moments.iter();
        moments
            .find_map(|&(utc, source)| {
                let minutes = zone_of(taken.clock.at - utc)?;
                Some((Some(minutes), Some(source.to_owned())))
            })
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(rank: Rank, second: i64, offset_min: Option<i64>) -> Taken {
        Taken {
            rank,
            clock: Clock {
                at: second * 1_000_000,
                offset_min,
            },
            source: format!("{rank:?}"),
            offset_source: offset_min.map(|_| format!("{rank:?} offset")),
        }
    }

    fn told(facts: Facts) -> Photo {
        let mut photo = Photo::default();
        facts.tell(&mut photo);
        photo
    }

    #[test]
    fn the_original_time_wins_and_borrows_an_offset_only_of_the_same_moment() {
        let facts = Facts {
            times: vec![
                taken(Rank::Changed, 100, Some(120)),
                taken(Rank::Original, 50, None),
                taken(Rank::Digitized, 50, Some(60)),
            ],
            ..Facts::default()
        };
        let photo = told(facts.clone());
        assert_eq!(photo.taken_at, Some(50_000_000));
        assert_eq!(photo.taken_source.as_deref(), Some("Original"));
        assert_eq!(photo.taken_offset_min, Some(60));
        assert_eq!(photo.offset_source.as_deref(), Some("Digitized offset"));
        assert_eq!(photo.taken_at_utc, Some(50_000_000 - 3_600_000_000));

        let other_moment = Facts {
            times: facts.times[..2].to_vec(),
            ..Facts::default()
        };
        let photo = told(other_moment);
        assert_eq!((photo.taken_offset_min, photo.taken_at_utc), (None, None));
    }

    #[test]
    fn a_utc_moment_tells_an_offset_only_if_it_fits_a_zone() {
        let facts = |utc: i64| Facts {
            times: vec![taken(Rank::Original, 7_200, None)],
            moments: vec![(utc * 1_000_000, "GPS")],
            ..Facts::default()
        };
        assert_eq!(told(facts(3)).taken_offset_min, Some(120));
        assert_eq!(told(facts(3)).offset_source.as_deref(), Some("GPS"));
        assert_eq!(told(facts(300)).taken_offset_min, None);
        assert_eq!(told(facts(900)).taken_offset_min, None, "no zone is +01:45");
        assert_eq!(told(facts(7_200 - 345 * 60)).taken_offset_min, Some(345));
        assert_eq!(told(facts(7_200 - 15 * 3_600)).taken_offset_min, None);
    }

    #[test]
    fn a_height_goes_with_its_own_place() {
        let place = |source| Place::new(1.0, 2.0, source);
        let mut facts = Facts {
            altitude_m: Some(9.0),
            ..Facts::default()
        };
        facts.add(Facts {
            place: place("other"),
            altitude_m: Some(5.0),
            ..Facts::default()
        });
        assert_eq!(facts.altitude_m, Some(5.0));
        facts.altitude_m = None;
        facts.add(Facts {
            altitude_m: Some(7.0),
            ..Facts::default()
        });
        assert_eq!(facts.altitude_m, None);
        assert_eq!(Place::new(91.0, 0.0, ""), None);
        assert_eq!(Place::new(f64::NAN, 0.0, ""), None);
    }
}
