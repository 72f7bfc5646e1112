# A function for an interpreter to import before it gets its own.
def handler(event, context):
    return event
