"""Search spaces: parameters, overrides, bounds from the data, checks, and the catalogue of models.

Import from here: any module. It may import the modules beside this folder.
"""
