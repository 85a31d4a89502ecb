"""Draw ``sample.png``, a small picture of our own with the details that upscalers are judged by.

The picture has hills with soft shading, a fence of fine lines, a tiled roof, branches, rings and letters. It
is drawn sixteen times as large and then shrunk, so nothing in it is sharper than its pixels. Run this script
to make the picture again.
"""

import math
import random
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

WIDTH, HEIGHT = 192, 144
ENLARGED = 16
SIZE = (WIDTH * ENLARGED, HEIGHT * ENLARGED)


def px(value: float) -> float:
    """Convert pixels of the small picture to pixels of the drawing."""
    return value * ENLARGED


def sky() -> Image.Image:
    """Draw a sky that goes from blue to a warm horizon, with a sun."""
    ramp = Image.linear_gradient("L").resize(SIZE)
    picture = Image.composite(
        Image.new("RGB", SIZE, (250, 214, 165)), Image.new("RGB", SIZE, (74, 128, 190)), ramp
    )
    glow = Image.new("RGB", SIZE)
    ImageDraw.Draw(glow).ellipse([px(135), px(12), px(165), px(42)], fill=(120, 100, 50))
    picture = ImageChops.add(picture, glow.filter(ImageFilter.GaussianBlur(px(5))))
    ImageDraw.Draw(picture).ellipse([px(140), px(17), px(160), px(37)], fill=(255, 244, 200))
    return picture


def hills(draw: ImageDraw.ImageDraw) -> None:
    """Draw three chains of hills. The nearer ones are darker."""
    for base, height, length, color in (
        (72, 12, 90, (124, 152, 160)),
        (84, 9, 61, (92, 132, 104)),
        (98, 6, 117, (70, 112, 62)),
    ):
        ridge = [
            (px(x), px(base - height * math.sin(x / length * 6.3) - 2 * math.sin(x / 7)))
            for x in range(WIDTH + 1)
        ]
        draw.polygon([*ridge, (px(WIDTH), px(HEIGHT)), (0, px(HEIGHT))], fill=color)


def house(draw: ImageDraw.ImageDraw) -> None:
    """Draw a house with a tiled roof, windows with bars and a brick chimney."""
    draw.rectangle([px(24), px(76), px(84), px(120)], fill=(236, 222, 196))
    draw.polygon([(px(18), px(78)), (px(54), px(50)), (px(90), px(78))], fill=(150, 62, 48))
    for row in range(10):
        y = 52 + 2.6 * row
        half = (y - 50) / 28 * 35
        for step in range(int(half / 1.8)):
            for side in (-1, 1):
                x = 54 + side * (1.8 * step + 0.9 * (row % 2))
                draw.arc(
                    [px(x - 1), px(y - 1), px(x + 1), px(y + 1)],
                    0,
                    180,
                    fill=(96, 34, 28),
                    width=int(px(0.3)),
                )
    for left in (30, 62):
        draw.rectangle([px(left), px(86), px(left + 16), px(104)], fill=(52, 74, 98))
        for bar in range(1, 4):
            draw.line(
                [px(left + 4 * bar), px(86), px(left + 4 * bar), px(104)],
                fill=(245, 240, 228),
                width=int(px(0.7)),
            )
        draw.line([px(left), px(95), px(left + 16), px(95)], fill=(245, 240, 228), width=int(px(0.7)))
    draw.rectangle([px(50), px(96), px(58), px(120)], fill=(96, 64, 40))
    for y in range(50, 64, 2):
        draw.line([px(70), px(y), px(76), px(y)], fill=(120, 70, 60), width=int(px(1.4)))


def tree(draw: ImageDraw.ImageDraw, x: float, y: float, angle: float, length: float, width: float) -> None:
    """Draw a branch and the branches that grow out of it."""
    if length < 1.5:
        draw.ellipse(
            [px(x - 0.9), px(y - 0.9), px(x + 0.9), px(y + 0.9)], fill=(random.randint(40, 90), 110, 44)
        )
        return
    end_x, end_y = x + length * math.cos(angle), y - length * math.sin(angle)
    draw.line([px(x), px(y), px(end_x), px(end_y)], fill=(72, 50, 34), width=max(1, int(px(width))))
    for turn in (-0.45, 0.1, 0.5):
        tree(draw, end_x, end_y, angle + turn * random.uniform(0.7, 1.3), length * 0.68, width * 0.62)


def fence(draw: ImageDraw.ImageDraw) -> None:
    """Draw a fence whose posts get closer and closer, so that aliasing is easy to see."""
    x, gap = 4.0, 5.0
    while x < WIDTH - 4:
        draw.rectangle([px(x), px(112), px(x + gap * 0.35), px(128)], fill=(244, 244, 238))
        x, gap = x + gap, max(1.6, gap * 0.97)
    for y in (115, 123):
        draw.rectangle([0, px(y), px(WIDTH), px(y + 1.1)], fill=(232, 232, 224))


def sign(draw: ImageDraw.ImageDraw) -> None:
    """Draw a board with letters, and rings beside it."""
    draw.rectangle([px(104), px(128), px(188), px(142)], fill=(28, 32, 40))
    font = ImageFont.load_default(px(10))
    draw.text((px(108), px(129)), "ESC upscale", fill=(250, 250, 250), font=font)
    for ring in range(9, 0, -1):
        shade = (236, 236, 230) if ring % 2 else (180, 30, 40)
        draw.ellipse([px(12 - ring), px(134 - ring), px(12 + ring), px(134 + ring)], fill=shade)


def make_sample(scale: int = 1) -> Image.Image:
    """Draw the picture and shrink it to ``scale`` times the size of ``sample.png``."""
    random.seed(1)
    picture = sky()
    draw = ImageDraw.Draw(picture)
    hills(draw)
    house(draw)
    tree(draw, 150, 116, 1.57, 18, 4)
    fence(draw)
    sign(draw)
    return picture.resize((scale * WIDTH, scale * HEIGHT), Image.Resampling.BICUBIC)


if __name__ == "__main__":
    make_sample().save(Path(__file__).with_name("sample.png"))
