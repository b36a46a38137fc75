"""How far apart two countries are, for the features km and kmh.

A message names a country, not a place, so the honest question is "how far must the card have
travelled at the least". Each country is a disc of its land area around its centre; the distance is
what the great circle leaves between the discs, so neighbours come out near 0 and a payment on both
sides of one border is no flight. Figures are rounded by hand (degrees, thousands of km2): the use
is to tell a taxi from an aeroplane. Antarctica is left out.

The table is made with +, -, *, / and sqrt alone, which IEEE 754 rounds the same way everywhere, so
every machine gets the same integers.
"""

import numpy as np
from numpy.typing import NDArray

EARTH_RADIUS_KM = 6371.0
NEAR_KM = 50  # below this the distance says nothing about travel
CODE_COUNT = 1000  # ISO 3166-1 numbers are three digits
_PI = 3.141592653589793

# ISO 3166-1 number, latitude, longitude of the centre, land area in 1,000 km2.
_PLACES = """
004 34 66 653; 008 41 20 29; 012 28 3 2382; 016 -14 -171 1; 020 42.5 1.5 1; 024 -12 18 1247;
028 17 -62 1; 031 40.5 47.5 87; 032 -34 -64 2780; 036 -25 134 7692; 040 47.5 14 84; 044 24 -76 14;
048 26 50.5 1; 050 24 90 148; 051 40 45 30; 052 13 -59.5 1; 056 50.8 4.5 31; 060 32.3 -64.8 1;
064 27.5 90.5 38; 068 -17 -65 1099; 070 44 18 51; 072 -22 24 582; 076 -10 -55 8516;
084 17 -88.7 23; 086 -7 72 1; 090 -9 160 29; 092 18.4 -64.6 1; 096 4.5 114.7 6; 100 43 25 111;
104 22 98 677; 108 -3.5 30 28; 112 53 28 208; 116 13 105 181; 120 6 12 475; 124 60 -96 9985;
132 16 -24 4; 136 19.5 -80.7 1; 140 7 21 623; 144 7 81 66; 148 15 19 1284; 152 -33 -71 756;
156 35 103 9597; 158 23.7 121 36; 162 -10.5 105.7 1; 166 -12 97 1; 170 4 -73 1142; 174 -12 44 2;
175 -12.8 45.2 1; 178 -1 15 342; 180 -3 24 2345; 184 -21 -160 1; 188 10 -84 51; 191 45 16 57;
192 22 -79 110; 196 35 33 9; 203 49.8 15.5 79; 204 9.5 2.3 115; 208 56 10 43; 212 15.4 -61.4 1;
214 19 -70.5 49; 218 -1.5 -78.5 284; 222 13.8 -88.9 21; 226 1.7 10.3 28; 231 9 39.5 1104;
232 15 39 118; 233 59 26 45; 234 62 -7 1; 238 -51.7 -59 12; 242 -18 178 18; 246 64 26 338;
248 60.2 20 2; 250 46.5 2.5 552; 254 4 -53 84; 258 -17.5 -149.5 4; 260 -49 69 8; 262 11.5 42.5 23;
266 -0.8 11.7 268; 268 42 43.5 70; 270 13.5 -15.5 11; 275 32 35.2 6; 276 51 10 358; 288 8 -1 239;
292 36.1 -5.3 1; 296 1.5 173 1; 300 39 22 132; 304 72 -40 2166; 308 12.1 -61.7 1;
312 16.2 -61.6 2; 316 13.4 144.8 1; 320 15.5 -90.3 109; 324 11 -10.5 246; 328 5 -59 215;
332 19 -72.5 28; 336 41.9 12.5 1; 340 15 -86.5 112; 344 22.3 114.2 1; 348 47 19.5 93;
352 65 -18.5 103; 356 22 79 3287; 360 -2 118 1905; 364 32.5 54 1648; 368 33 43.5 438;
372 53.2 -8 70; 376 31.5 35 22; 380 42.8 12.6 301; 384 7.5 -5.5 322; 388 18.2 -77.3 11;
392 36.5 138 378; 398 48 67 2725; 400 31 36.5 89; 404 0.5 38 580; 408 40 127 121;
410 36.5 128 100; 414 29.3 47.6 18; 417 41.5 74.5 200; 418 18.5 104 237; 422 34 36 10;
426 -29.5 28.3 30; 428 57 25 65; 430 6.5 -9.3 111; 434 27 17.5 1760; 438 47.2 9.5 1;
440 55.3 24 65; 442 49.8 6.1 3; 446 22.2 113.5 1; 450 -19.5 46.7 587; 454 -13.3 34 118;
458 3.5 109 331; 462 3.5 73.2 1; 466 17.5 -4 1240; 470 35.9 14.4 1; 474 14.6 -61 1;
478 20.3 -10.5 1031; 480 -20.3 57.6 2; 484 23.5 -102.5 1964; 492 43.7 7.4 1; 496 46.8 103 1564;
498 47.2 28.5 34; 499 42.8 19.3 14; 500 16.7 -62.2 1; 504 32 -6 447; 508 -17.3 35.5 801;
512 20.6 56 310; 516 -22 17 825; 520 -0.5 166.9 1; 524 28.3 84 147; 528 52.2 5.5 42;
531 12.2 -69 1; 533 12.5 -70 1; 534 18 -63.1 1; 535 12.2 -68.3 1; 540 -21.3 165.5 19;
548 -16 167 12; 554 -41.5 173 268; 558 12.9 -85 130; 562 17.5 9.5 1267; 566 9.5 8 924;
570 -19 -169.9 1; 574 -29 168 1; 578 64.5 13 385; 580 15.2 145.7 1; 583 6.9 158.2 1;
584 7.1 171.2 1; 585 7.5 134.5 1; 586 30 69.5 796; 591 8.5 -80 75; 598 -6.5 145 463;
600 -23.3 -58.3 407; 604 -9.5 -75 1285; 608 12 122.5 300; 612 -25 -130 1; 616 52 19.5 313;
620 39.6 -8 92; 624 12 -15 36; 626 -8.8 125.8 15; 630 18.2 -66.4 9; 634 25.3 51.2 12;
638 -21.1 55.5 3; 642 46 25 238; 643 61 97 17098; 646 -2 30 26; 652 17.9 -62.8 1; 654 -16 -5.7 1;
659 17.3 -62.7 1; 660 18.2 -63 1; 662 13.9 -61 1; 663 18.1 -63.1 1; 666 46.9 -56.3 1;
670 13 -61.2 1; 674 43.9 12.5 1; 678 0.3 6.7 1; 682 24 45 2150; 686 14.5 -14.5 197; 688 44 21 77;
690 -4.6 55.5 1; 694 8.5 -11.8 72; 702 1.35 103.8 1; 703 48.7 19.5 49; 704 16 107 331;
705 46.1 14.8 20; 706 5.5 46 638; 710 -29 25 1221; 716 -19 29.5 391; 724 40.2 -3.6 506;
728 7.5 30 644; 729 16 30 1861; 732 24.5 -13.5 266; 740 4 -56 164; 744 78 18 62;
748 -26.5 31.5 17; 752 62.5 16 450; 756 46.8 8.2 41; 760 35 38.5 185; 762 38.8 71 143;
764 15 101 513; 768 8.5 1 57; 772 -9 -172 1; 776 -21 -175 1; 780 10.5 -61.3 5; 784 24 54 84;
788 34 9.5 164; 792 39 35 784; 795 39 59.5 488; 796 21.8 -71.8 1; 798 -8 178 1; 800 1.3 32.3 242;
804 49 31.5 604; 807 41.6 21.7 26; 818 27 30 1002; 826 54 -2.5 244; 831 49.5 -2.6 1;
832 49.2 -2.1 1; 833 54.2 -4.5 1; 834 -6.3 35 947; 840 39 -98 9834; 850 18 -64.8 1;
854 12.3 -1.7 274; 858 -33 -56 176; 860 41.5 64 447; 862 7 -66 912; 876 -13.3 -176.2 1;
882 -13.7 -172.3 3; 887 15.5 48 528; 894 -13.5 28 753; 983 42.6 20.9 11
"""


def distance_table() -> NDArray[np.int16]:
    """Return whole km between countries, with the map from ISO numbers in front.

    Returns: i16[1000 + n * n]. Entry ``code`` is the row r of that country, 0 = not known; entry
    ``1000 + r * n + s`` is the least distance from row r to row s, 0 if under NEAR_KM. Row 0 is the
    unknown country: 0 km from everywhere.
    """
    code, latitude, longitude, area = _places()
    count = len(code)
    distance = _great_circle_km(latitude, longitude)
    radius = np.sqrt(area * 1000.0 / _PI)
    gap = np.floor(distance - radius[:, None] - radius[None, :])
    gap[gap < NEAR_KM] = 0.0
    gap[0, :] = 0.0
    gap[:, 0] = 0.0
    np.fill_diagonal(gap, 0.0)
    table = np.zeros(CODE_COUNT + count * count, np.int16)
    table[code[1:].astype(np.int64)] = np.arange(1, count)
    table[CODE_COUNT:] = gap.astype(np.int16).ravel()
    return table


def _places() -> NDArray[np.float64]:
    """Return f64[4, n]: code, latitude, longitude, area; row 0 stands for the unknown country."""
    rows = [[float(word) for word in row.split()] for row in _PLACES.split(";")]
    rows = [[0.0] * 4, *[row for row in rows if row[3] > 0]]
    return np.array(rows, np.float64).T


def _great_circle_km(
    latitude: NDArray[np.float64], longitude: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return f64[n, n]: distances on the sphere, from the chord between unit vectors."""
    sin_lat, cos_lat = _sin_cos(latitude * (_PI / 180.0))
    sin_lon, cos_lon = _sin_cos(longitude * (_PI / 180.0))
    chord = np.zeros((len(latitude), len(latitude)))
    for axis in (cos_lat * cos_lon, cos_lat * sin_lon, sin_lat):
        step = axis[:, None] - axis[None, :]
        chord += step * step
    return 2.0 * EARTH_RADIUS_KM * _arc_sin(np.minimum(np.sqrt(chord) / 2.0, 1.0))


def _sin_cos(angle: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return sine and cosine for |angle| <= pi: series of a quarter of it, doubled twice."""
    small = angle / 4.0
    square = small * small
    sine = np.ones_like(small)
    cosine = np.ones_like(small)
    for k in range(9, 0, -1):
        sine = 1.0 - sine * square / (2.0 * k * (2.0 * k + 1.0))
        cosine = 1.0 - cosine * square / (2.0 * k * (2.0 * k - 1.0))
    sine = sine * small
    for _ in range(2):
        sine, cosine = 2.0 * sine * cosine, 1.0 - 2.0 * sine * sine
    return sine, cosine


def _arc_sin(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the angle in 0..pi/2 for 0 <= x <= 1: halved three times, then its series."""
    for _ in range(3):
        x = x / np.sqrt(2.0 * (1.0 + np.sqrt(1.0 - x * x)))
    square = x * x
    total = np.zeros_like(x)
    for k in range(12, 0, -1):
        total = (1.0 / (2 * k + 1) + total) * square * ((2 * k - 1) / (2 * k))
    # Horner form of sum over k of (1*3..(2k-1)) / (2*4..2k) * x^2k / (2k+1), times x.
    return 8.0 * x * (1.0 + total)
