// Elementary functions of our own, in double. libm picks variants by CPU; these are plain adds, multiplies and divides
// in one fixed order (the compiler contracts nothing), so their bits are the same on every x86-64 machine, path and
// process. The vectorised fp32 exponential of the ops lives in cpu/isa/vec.h and is tested against these.
#pragma once

namespace hone::kernels {

// e^x; relative error below 3e-16. +inf above 709.78, 0 below -745 (results below 2.3e-308 are subnormal or 0). NaN
// stays NaN.
double Exp(double x);

// Natural logarithm; error below 2 ulp. -inf at 0, NaN below 0.
double Log(double x);

// x^y for x > 0, as Exp(y Log(x)): relative error about |y log x| 2e-16.
double Pow(double x, double y);

// Angle in radians; absolute error below 3e-16 for |x| <= 1e6 (rotary positions), growing in proportion beyond; NaN
// above 1e9.
double Sin(double x);
double Cos(double x);

}  // namespace hone::kernels
