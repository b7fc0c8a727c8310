"""Tests of the engine, on real images, real tools and real files."""
