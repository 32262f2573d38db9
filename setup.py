"""The one thing that setup.cfg cannot say: an extension module that may fail to build.

Without a C compiler the install goes on, and pystorm runs in plain Python (see pystorm/speed.py).
"""

from Cython.Build import cythonize
from setuptools import Extension, setup

extensions = cythonize([Extension("pystorm._speed", ["pystorm/_speed.pyx"])], quiet=True)
for extension in extensions:
    extension.optional = True  # cythonize does not pass it on

setup(ext_modules=extensions)
