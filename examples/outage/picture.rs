//! The picture of the table: a bar from the least to the greatest outage, and a line at the median.

use std::error::Error;

use plotters::prelude::*;

use crate::{Row, spread};

const SIZE: (u32, u32) = (900, 460);
const BAR: RGBColor = RGBColor(0x9e, 0xb8, 0xd9);
const OURS: RGBColor = RGBColor(0x2f, 0x6f, 0xb0);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);
/// Where the axis begins and ends, in pixels.
const AXIS: (i32, i32) = (300, 860);

pub fn draw(path: &str, charts: &[(&str, Vec<Row>)]) -> Result<(), Box<dyn Error + Send + Sync>> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&PAPER)?;
    let spreads = |row: &Row| spread(&row.outages);
    let most = charts.iter().flat_map(|(_, rows)| rows.iter().filter_map(spreads)).map(|(_, _, most)| most);
    let most = (most.fold(0.0, f64::max) / 60.0).ceil() * 60.0;
    let x = |seconds: f64| AXIS.0 + (f64::from(AXIS.1 - AXIS.0) * seconds / most) as i32;
    let text = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let title = "A model: seconds from the failure until every new connection reaches a writable writer";
    area.draw(&Text::new(title, (20, 16), text(16)))?;
    let mut y = 52;
    for (title, rows) in charts {
        area.draw(&Text::new(*title, (20, y), text(15)))?;
        y += 26;
        for row in rows {
            let name = row.contender.name();
            area.draw(&Text::new(name, (20, y + 4), text(13)))?;
            let colour = if name.starts_with("this") { OURS } else { BAR };
            if let Some((least, middle, greatest)) = spread(&row.outages) {
                area.draw(&Rectangle::new([(x(least), y), (x(greatest), y + 20)], colour.filled()))?;
                let median = [(x(middle) - 1, y - 3), (x(middle) + 1, y + 23)];
                area.draw(&Rectangle::new(median, INK.filled()))?;
                area.draw(&Text::new(
                    format!("{middle:.0}"),
                    (x(middle) + 5, y + 4),
                    text(13).color(&PAPER),
                ))?;
            }
            y += 32;
        }
        y += 18;
    }
    area.draw(&PathElement::new(vec![(AXIS.0, y), (AXIS.1, y)], INK))?;
    let mut tick = 0.0;
    while tick <= most {
        area.draw(&PathElement::new(vec![(x(tick), y), (x(tick), y + 5)], INK))?;
        area.draw(&Text::new(format!("{tick:.0}"), (x(tick) - 8, y + 9), text(12)))?;
        tick += 60.0;
    }
    let legend = "bar: least to greatest of 100 trials with varied durations; line: median. Measure with scripts/drill.";
    area.draw(&Text::new(legend, (20, y + 34), text(12)))?;
    area.present()?;
    Ok(())
}
