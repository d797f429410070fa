"""A farm paints the Mandelbrot set: whoever is free takes the next row. Writes a PNG, with Pillow.

    source --rows--> painter, painter, ... --painted--> collect
"""

import sys

from PIL import Image

from interproc.csp import Channel, Parallel, Reader, Writer, parts, process

Row = tuple[int, bytes]  # its number, and hue, saturation, value of each pixel
STEPS = 100


def escape(c: complex) -> int:
    """After how many steps z*z + c is out of the circle of radius 2; 0 if it still is in it after STEPS."""
    z = c
    for n in range(1, STEPS + 1):
        if abs(z) > 2:
            return n
        z = z * z + c
    return 0


def point(x: int, y: int, width: int, height: int) -> complex:
    """The number that a pixel stands for; row height // 2 is the real axis."""
    scale = 3 / width
    return complex(-2.2 + x * scale, (height // 2 - y) * scale)


@process
def painter(rows: Reader[int], painted: Writer[Row], width: int, height: int) -> None:
    for y in rows:
        steps = [escape(point(x, y, width, height)) for x in range(width)]
        painted.send((y, b"".join(bytes([160 + 7 * n & 255, 200, 255 if n else 0]) for n in steps)))


def main(path: str = "mandelbrot.png", width: int = 240, height: int = 180, workers: int = 4) -> Image.Image:
    rows, painted = Channel[int]("rows"), Channel[Row]("painted")
    *_, picture = Parallel(
        parts.source(range(height), rows.writer()),
        painter(rows.reader(), painted.writer(), width, height) * workers,
        parts.collect(painted.reader()),
    )
    pixels = b"".join(row for _, row in sorted(picture))
    image = Image.frombytes("HSV", (width, height), pixels).convert("RGB")
    image.save(path)
    print(f"{path}: {width} x {height}")
    return image


if __name__ == "__main__":
    main(*sys.argv[1:])
