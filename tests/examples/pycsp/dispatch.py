"""A dispatcher: services tell it of themselves, and it sends each request to whichever of them is free."""

from interproc.csp.pycsp import *


@process
def service(id, register, what):
    requests = Channel()
    register((what, requests.writer()))
    cin = requests.reader()
    while True:
        text, reply = cin()
        reply(f"{what}: {text}")


@process
def dispatcher(register, requests, ready, number):
    services = {}
    known = []

    def add(channel_input):
        what, end = channel_input
        services.setdefault(what, []).append(end)
        known.append(what)
        if len(known) == number:
            ready(True)

    @choice
    def dispatch(services, channel_input):
        what, text, reply = channel_input
        if what in services:
            AltSelect(*(OutputGuard(end, msg=(text, reply)) for end in services[what]))
        else:
            reply(f"no {what}")

    try:
        while True:
            PriSelect(InputGuard(register, action=add), InputGuard(requests, action=dispatch(services)))
    except ChannelPoisonException:
        poison(register, requests)
        for ends in services.values():
            poison(*ends)


@process
def browser(requests, ready):
    ready()
    reply = Channel()
    cout, cin = reply.writer(), reply.reader()
    for what, text in (("echo", "one"), ("twice", "two"), ("none", "three"), ("echo", "four")):
        requests((what, text, cout))
        print(cin())
    poison(requests)


register, requests, ready = Channel("register"), Channel("requests"), Channel("ready")
services = [service(number, register.writer(), what) for number, what in enumerate(("echo", "echo", "twice"))]
Spawn(dispatcher(register.reader(), requests.reader(), ready.writer(), len(services)), services)
Parallel(browser(requests.writer(), ready.reader()))
shutdown()
