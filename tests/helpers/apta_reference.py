"""A slow, independent Adaptive Pixel Transformation Algorithm: plain loops over colours, written from its description.

It shares nothing with the package, so that the two can be held against each other. `image[y][x]` is a colour, an
(R, G, B) tuple; a neighbour is (dx, dy) away, x is the column and y the row.
"""

BLACK, RED, GREEN, BLUE = (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)
CLASS_OF = {BLACK: 0, RED: 1, GREEN: 2, BLUE: 3}
FOUR = [(+1, 0), (-1, 0), (0, +1), (0, -1)]


def eight():
    offsets = []
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            if dx != 0 or dy != 0:
                offsets.append((dx, dy))
    return offsets


EIGHT = eight()


def neighbours(image, x, y, offsets):
    found = []
    for dx, dy in offsets:
        if 0 <= y + dy < len(image) and 0 <= x + dx < len(image[0]):
            found.append(image[y + dy][x + dx])
    return found


def most_common(colours):
    """The colour that occurs most often; of equally common ones the one that came first."""
    counts = {}
    for colour in colours:  # a dict keeps the order in which its keys came
        counts[colour] = counts.get(colour, 0) + 1
    most = max(counts.values())
    for colour, count in counts.items():
        if count == most:
            return colour


def each_pixel(image, rule):
    """A new image: rule(image, x, y) at every pixel, always of the old image."""
    return [[rule(image, x, y) for x in range(len(image[0]))] for y in range(len(image))]


def threshold(value):
    pixel = (value, value, value)  # the script opens the grey file as RGB
    if all(1 <= channel <= 10 for channel in pixel):
        return RED
    if all(90 <= channel <= 180 for channel in pixel):
        return GREEN
    if all(180 <= channel <= 255 for channel in pixel):
        return BLUE
    return BLACK


def lone_to_black(image, x, y):
    return image[y][x] if image[y][x] in neighbours(image, x, y, EIGHT) else BLACK


def like_four(image, x, y):
    around = neighbours(image, x, y, FOUR)
    return most_common(around) if around else image[y][x]


def like_eight(image, x, y):
    around = neighbours(image, x, y, EIGHT)
    return most_common(around) if len(set(around)) >= 2 else image[y][x]


def lone_like_eight(image, x, y):
    around = neighbours(image, x, y, EIGHT)
    if image[y][x] in around or not around:
        return image[y][x]
    return most_common(around)


def red_where_none_is(image):
    if any(RED in row for row in image):
        return image
    return [[RED if colour in (GREEN, BLUE) else colour for colour in row] for row in image]


def apta_images(grey):
    """Six images of classes 0..3, lists of rows, one after each pass; `grey` is a list of rows of 0..255."""
    images = [[[threshold(value) for value in row] for row in grey]]
    for rule in (lone_to_black, like_four, like_eight, lone_like_eight):
        images.append(each_pixel(images[-1], rule))
    images.append(red_where_none_is(images[-1]))
    return [[[CLASS_OF[colour] for colour in row] for row in image] for image in images]
