//! How names, times and spans stand in the admin socket's JSON: as people write them.

/// Anything that has a text form which it can be read from.
pub(super) mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(in super::super) fn serialize<T: Display, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(in super::super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Several of those.
pub(super) mod texts {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(in super::super) fn serialize<T: Display, S: Serializer>(
        values: &[T],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(ToString::to_string))
    }

    pub(in super::super) fn deserialize<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let texts = Vec::<String>::deserialize(from)?.into_iter();
        texts
            .map(|text| text.parse().map_err(D::Error::custom))
            .collect()
    }
}

/// A time, RFC 3339, to the second.
pub(super) mod time {
    use std::time::SystemTime;

    use ::time::OffsetDateTime;
    use ::time::format_description::well_known::Rfc3339;
    use edge_tunnel_proto::identity::rfc3339;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(in super::super) fn serialize<S: Serializer>(
        value: &SystemTime,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(&rfc3339(*value))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(from)?;
        OffsetDateTime::parse(&text, &Rfc3339)
            .map(SystemTime::from)
            .map_err(D::Error::custom)
    }
}

/// A time, or null.
pub(super) mod maybe_time {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

    #[derive(serde::Serialize, Deserialize)]
    struct Time(#[serde(with = "super::time")] SystemTime);

    pub(in super::super) fn serialize<S: Serializer>(
        value: &Option<SystemTime>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(Time).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        Ok(Option::<Time>::deserialize(from)?.map(|time| time.0))
    }
}

/// A span, in whole seconds.
pub(super) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        value: &Duration,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.as_secs())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_secs)
    }
}

/// Ports, as numbers.
pub(super) mod ports {
    use edge_tunnel_proto::id::Port;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(in super::super) fn serialize<S: Serializer>(
        value: &[Port],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(value.iter().map(|port| port.get()))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Port>, D::Error> {
        let ports = Vec::<u16>::deserialize(from)?.into_iter();
        ports
            .map(|port| Port::new(port).ok_or_else(|| D::Error::custom("0 is no port")))
            .collect()
    }
}
