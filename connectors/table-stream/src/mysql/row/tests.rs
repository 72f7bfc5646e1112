use proptest::prelude::*;

use super::*;

fn read(shape: &Shape, packed: &[u8]) -> String {
    let bytes = shape.read(&mut Parts(packed)).unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn decimals_are_read_with_all_of_their_digits() {
    // MySQL's own example: DECIMAL(14, 4), 1234567890.1234.
    let shape = Shape::Decimal {
        digits: 14,
        scale: 4,
    };
    let packed = [0x81, 0x0D, 0xFB, 0x38, 0xD2, 0x04, 0xD2];
    assert_eq!(read(&shape, &packed), "1234567890.1234");
    let negative: Vec<u8> = packed.iter().map(|byte| !byte).collect();
    assert_eq!(read(&shape, &negative), "-1234567890.1234");
    let small = Shape::Decimal {
        digits: 2,
        scale: 2,
    };
    assert_eq!(read(&small, &[0x85]), "0.05");
}

#[test]
fn times_below_zero_keep_their_fractions() {
    let shape = |fraction| Shape::Time { fraction };
    assert_eq!(read(&shape(0), &[0x80, 0x10, 0x83]), "01:02:03");
    assert_eq!(read(&shape(0), &[0x7F, 0xEF, 0x7D]), "-01:02:03");
    // One hundredth before midnight.
    assert_eq!(read(&shape(2), &[0x7F, 0xFF, 0xFF, 0xFF]), "-00:00:00.01");
    assert_eq!(read(&shape(1), &[0x80, 0, 1, 50]), "00:00:01.5");
}

#[test]
fn dates_that_are_none_are_written_as_the_server_writes_them() {
    assert_eq!(read(&Shape::Date, &[0, 0, 0]), "0000-00-00");
    let fraction = 3;
    assert_eq!(
        read(&Shape::Timestamp { fraction }, &[0; 6]),
        "0000-00-00 00:00:00.000"
    );
    assert_eq!(
        read(&Shape::Timestamp { fraction: 0 }, &[0x65, 0xE0, 0x8C, 0x1B]),
        "2024-02-29 13:52:27"
    );
    assert_eq!(
        read(&Shape::DateTime { fraction: 0 }, &[0x80, 0, 0, 0, 0]),
        "0000-00-00 00:00:00"
    );
}

proptest! {
    #[test]
    fn whole_numbers_of_every_width_are_read(number: i64, bytes in prop::sample::select(vec![1usize, 2, 3, 4, 8])) {
        let packed = number.to_le_bytes();
        let unused = 64 - 8 * bytes;
        let signed = (number << unused) >> unused;
        let unsigned = (number.cast_unsigned() << unused) >> unused;
        prop_assert_eq!(read(&Shape::Signed { bytes }, &packed), signed.to_string());
        prop_assert_eq!(read(&Shape::Unsigned { bytes }, &packed), unsigned.to_string());
    }

    #[test]
    fn no_bytes_are_too_odd(packed: Vec<u8>, digits in 1usize..65, fraction in 0usize..7) {
        for shape in [
            Shape::Decimal { digits, scale: digits / 2 },
            Shape::Time { fraction },
            Shape::DateTime { fraction },
            Shape::Timestamp { fraction },
            Shape::OldTime,
            Shape::OldDateTime,
            Shape::Date,
            Shape::Bits { bytes: 8 },
            Shape::Json,
            Shape::Text { count_bytes: 2, padded_to: Some(4), charset: Charset::Binary },
            Shape::Set { bytes: 8, words: vec![Bytes::from_static(b"a")] },
        ] {
            let _ = shape.read(&mut Parts(&packed));
        }
    }
}
