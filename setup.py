"""The one thing that setup.cfg cannot say: an extension module that may fail to build.

Without a C compiler the install goes on, and pystorm runs in plain Python (see pystorm/speed.py).
"""

from Cython.Build import cythonize
from setuptools import Extension, setup

setup(ext_modules=cythonize([Extension("pystorm._speed", ["pystorm/_speed.pyx"], optional=True)], quiet=True))
