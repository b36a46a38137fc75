"""The S-boxes of DES as gates: bit i of each word belongs to message i.

A box takes six bits, the first one its highest, and gives four, the first one the highest. The
gates come from a search that splits a box by one input after the other and uses again what is
there already (M. Kwan, Reducing the gate count of bitslice DES, 2000); the tests hold them against
the tables of FIPS 46-3 for every input.
"""

from typing import TypeAlias

from ledger.jit import Int, hot_kernel

Four: TypeAlias = tuple[Int, Int, Int, Int]


@hot_kernel
def box_1(a: Int, b: Int, c: Int, d: Int, e: Int, f: Int) -> Four:
    """S1, 65 gates."""
    t0 = (b | a) & ~d
    t1 = a ^ t0
    t2 = ~b
    t3 = t2 & ~c
    t4 = d | a
    t5 = t4 ^ t1
    t6 = t2 | t1
    t7 = t6 ^ t0
    t8 = t7 & c
    t9 = t5 ^ t8
    t10 = t9 & ~f
    t11 = (t1 ^ t3) ^ t10
    t12 = t10 | t4
    t13 = (t4 ^ f) ^ (t12 & c)
    t14 = t13 ^ (((t9 | f) & t4) & b)
    t15 = t14 & ~e
    q = t11 ^ t15
    t16 = t0 ^ f
    t17 = t9 ^ t3
    t18 = (t15 | t8) | t13
    p = ((t16 ^ t2) ^ ((t10 ^ ((t16 | t7) & ~d)) & ~c)) ^ (((t17 ^ t14) ^ (t18 & ~d)) & ~e)
    t19 = (d ^ c) ^ t7
    s = (t19 ^ (((t5 ^ b) | t11) & ~f)) ^ ((((a & ~t18) ^ t16) ^ ((t10 | t2) & c)) & ~e)
    r = (((t14 | t5) ^ t19) ^ ((t17 ^ t6) & ~f)) ^ ((((s ^ t2) | t19) ^ (((t12 & t1) ^ f) & c)) & e)
    return p, q, r, s


@hot_kernel
def box_2(a: Int, b: Int, c: Int, d: Int, e: Int, f: Int) -> Four:
    """S2, 59 gates."""
    t0 = e ^ a
    t1 = t0 & f
    t2 = a ^ t1
    t3 = t2 ^ f
    t4 = t3 | t0
    t5 = t4 & ~b
    t6 = t2 ^ t5
    t7 = e ^ b
    t8 = t7 & ~t1
    t9 = ~e
    t10 = t9 & ~b
    t11 = t8 ^ t10
    t12 = t6 ^ (t11 & d)
    t13 = a & ~t3
    t14 = (t11 ^ t4) ^ (t13 & b)
    t15 = t14 & ~c
    s = t12 ^ t15
    t16 = f ^ b
    t17 = t9 ^ (t16 & ~c)
    t18 = t13 | t11
    t19 = t7 & ~a
    t20 = t15 ^ t8
    t21 = (t20 | t3) & f
    t22 = (t19 ^ t12) ^ t21
    q = (t17 ^ ((t18 | t17) & a)) ^ (t22 & d)
    t23 = (s | t10) & ~a
    t24 = (t18 ^ t5) & ~f
    p = (((e ^ c) ^ t21) ^ t23) ^ ((t14 ^ t24) & d)
    r = (((t17 & ~t2) ^ t16) ^ (((t6 ^ t0) ^ t20) & ~c)) ^ (
        (((t9 ^ b) | t23) ^ (((t24 | t22) & ~t19) & c)) & ~d
    )
    return p, q, r, s


@hot_kernel
def box_3(a: Int, b: Int, c: Int, d: Int, e: Int, f: Int) -> Four:
    """S3, 60 gates."""
    t0 = e & ~f
    t1 = t0 | b
    t2 = (f ^ e) ^ (t1 & c)
    t3 = a & ~d
    t4 = t2 ^ t3
    t5 = f ^ b
    t6 = ~t5
    t7 = ((f & ~e) ^ t6) & c
    t8 = t5 | t0
    p = t4 ^ (((t6 ^ t7) ^ ((t8 ^ t7) & d)) & ~a)
    t9 = t5 ^ a
    t10 = t9 ^ c
    t11 = (t10 ^ (t3 & ~f)) ^ (((d ^ c) | a) & ~e)
    t12 = a & ~t2
    s = t11 ^ (((t12 & ~e) ^ ((t9 & t3) & c)) & b)
    t13 = t9 & t0
    t14 = t4 & ~t13
    t15 = (t10 | t6) & ~b
    r = (t14 ^ t15) ^ ((((t12 ^ e) | t11) ^ (((s & ~t1) ^ t13) & c)) & d)
    t16 = (t11 & b) | e
    q = ((t10 ^ e) ^ (((t8 & ~b) | t0) & d)) ^ ((t16 ^ ((t16 & ~(t15 | t14)) & d)) & ~c)
    return p, q, r, s


@hot_kernel
def box_4(a: Int, b: Int, c: Int, d: Int, e: Int, f: Int) -> Four:
    """S4, 47 gates."""
    t0 = ~a & ~d
    t1 = (c & ~b) ^ t0
    t2 = d | b
    t3 = t1 | d
    t4 = t2 ^ (t3 & c)
    t5 = t4 & a
    t6 = t1 ^ t5
    t7 = a & c
    t8 = (t3 & t2) ^ t7
    t9 = t6 ^ (t8 & e)
    t10 = (e ^ b) ^ t4
    t11 = ~t8 & ~b
    t12 = t10 ^ (((t0 | c) ^ t11) & ~e)
    s = t9 ^ (t12 & f)
    t13 = ((t4 & ~(t9 ^ c)) ^ ((t8 ^ t5) & e)) & b
    t14 = ((t13 ^ c) ^ (t10 & a)) ^ (((t7 & t2) ^ t11) & ~e)
    p = (((t6 | e) ^ t8) ^ t13) ^ (t14 & ~f)
    q = (t14 ^ f) ^ p
    r = (t12 | f) ^ t9
    return p, q, r, s


@hot_kernel
def box_5(a: Int, b: Int, c: Int, d: Int, e: Int, f: Int) -> Four:
    """S5, 65 gates."""
    t0 = a & ~c
    t1 = t0 ^ d
    t2 = ((f ^ b) ^ (c & ~a)) ^ (t1 & ~e)
    t3 = t2 & f
    t4 = e ^ b
    t5 = (t3 ^ b) ^ (t4 & c)
    t6 = (t5 | f) ^ t4
    t7 = (t5 ^ (t6 & ~a)) & ~d
    q = t2 ^ t7
    t8 = (t2 ^ c) ^ t6
    t9 = t3 & ~b
    t10 = t8 ^ t9
    t11 = q ^ e
    t12 = t11 & ~d
    t13 = t10 ^ t12
    t14 = t13 ^ c
    t15 = t14 & ~b
    t16 = q | c
    t17 = t15 ^ (t16 & e)
    t18 = t17 ^ (((t6 & b) ^ t11) & ~d)
    p = t13 ^ (t18 & ~a)
    t19 = ~t8
    t20 = (t19 | t4) ^ t7
    t21 = ((t18 ^ t1) ^ (t19 & ~e)) ^ (t20 & ~a)
    t22 = (((t14 & t11) | t9) ^ (((t0 & ~t10) ^ t15) & a)) & f
    s = t21 ^ t22
    r = (((t16 & ~t4) ^ t18) ^ ((t22 | t20) & ~a)) ^ (
        (((t21 & f) ^ t17) ^ (((t12 ^ f) & ~s) & ~e)) & c
    )
    return p, q, r, s


@hot_kernel
def box_6(a: Int, b: Int, c: Int, d: Int, e: Int, f: Int) -> Four:
    """S6, 63 gates."""
    t0 = f ^ b
    t1 = d ^ (t0 & e)
    t2 = (f & ~(e & b)) ^ (t1 & d)
    t3 = e | b
    t4 = t3 & c
    t5 = t2 ^ t4
    t6 = t4 | e
    t7 = e & d
    t8 = (t6 ^ t0) ^ t7
    t9 = c ^ ((t5 & ~b) & e)
    t10 = (t8 ^ (t9 & ~f)) & a
    r = t5 ^ t10
    t11 = (t3 & ~d) ^ t9
    t12 = t2 ^ b
    t13 = (t12 | t5) & ~a
    t14 = t11 ^ t13
    t15 = ~(t14 ^ t8)
    t16 = t7 ^ t1
    p = t14 ^ (((t15 ^ (t16 & c)) ^ ((t6 | c) & a)) & ~f)
    t17 = ((p & t16) ^ t12) ^ ((p ^ f) & ~c)
    t18 = t17 & d
    q = (((t14 ^ a) ^ t15) ^ (((p | e) ^ t13) & c)) ^ t18
    s = ((t7 ^ t0) ^ (((t18 & f) ^ p) & ~a)) ^ ((((p | t11) ^ t10) ^ (((t17 ^ d) & ~t10) & f)) & ~c)
    return p, q, r, s


@hot_kernel
def box_7(a: Int, b: Int, c: Int, d: Int, e: Int, f: Int) -> Four:
    """S7, 62 gates."""
    t0 = f ^ b
    t1 = t0 & c
    t2 = (c | b) ^ (t0 & ~d)
    t3 = t2 & ~e
    t4 = ((t0 | d) ^ t1) ^ t3
    t5 = d | b
    t6 = ~t2
    t7 = (t5 ^ f) ^ (t6 & e)
    t8 = ((t5 & ~t3) | f) & c
    t9 = t7 ^ t8
    p = t4 ^ (t9 & ~a)
    t10 = t3 ^ a
    t11 = t10 ^ t7
    t12 = t10 ^ c
    t13 = t12 & a
    t14 = t12 | p
    t15 = ((f ^ (t13 & b)) ^ ((t14 ^ t11) & d)) & f
    s = (t11 ^ ((d & ~e) & ~c)) ^ t15
    t16 = t6 & ~s
    t17 = t8 ^ a
    t18 = (t16 ^ t3) ^ ((t17 | t1) & b)
    t19 = t12 ^ f
    t20 = ((t19 | t7) ^ (((f & ~t18) | t13) & ~e)) & d
    q = t18 ^ t20
    r = ((t4 & ~(t17 & ~b)) ^ (((t20 | t0) ^ s) & e)) ^ (
        ((t19 ^ t14) ^ (((t15 ^ t9) & ~t16) & ~e)) & a
    )
    return p, q, r, s


@hot_kernel
def box_8(a: Int, b: Int, c: Int, d: Int, e: Int, f: Int) -> Four:
    """S8, 60 gates."""
    t0 = (d & ~e) ^ a
    t1 = t0 | e
    t2 = t1 & ~d
    t3 = t2 & ~b
    t4 = t0 ^ t3
    t5 = ~e
    t6 = t5 ^ (t3 & a)
    t7 = b ^ (t6 & ~d)
    t8 = t7 & ~c
    t9 = t4 ^ t8
    t10 = e | b
    t11 = t10 ^ t2
    t12 = (t10 | t4) & ~t7
    t13 = t11 ^ (t12 & ~c)
    s = t9 ^ (t13 & ~f)
    t14 = c & ~e
    t15 = (t12 ^ d) ^ t14
    t16 = ((t8 ^ d) | t6) & ~f
    r = (t15 ^ (((b & ~t8) & ~t13) & f)) ^ ((((t14 ^ c) ^ t11) ^ t16) & a)
    t17 = t13 ^ f
    t18 = r | t8
    t19 = ((t16 & c) | t1) ^ (((t9 & ~r) | e) & b)
    q = ((t17 ^ ((t16 | t5) & a)) ^ (t18 & ~b)) ^ (t19 & d)
    t20 = ((t19 & ~t15) ^ t11) ^ ((t18 & s) & ~a)
    p = t20 ^ (((t17 ^ t9) ^ t20) & f)
    return p, q, r, s
