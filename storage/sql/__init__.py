"""SQL statements, one module for each table or purpose. Every value is a parameter.

Import from here: any module. It imports nothing of castpool.
"""
