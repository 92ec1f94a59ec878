"""Which commands there are; what each one needs is imported only when it runs, so that parsing is fast."""

import os
import sys

from cyclopts import App, CycloptsError

from opentill import __version__
from opentill.cli import OPERATOR_ERROR
from opentill.cli.encoding import escape_what_can_not_be_written

app = App(
    name="opentill",
    help="A self-hosted checkout-order server that speaks Nomba's Online Checkout API.",
    version=f"opentill {__version__}",
    result_action="return_value",
)
app.command("opentill.cli.serve:serve", name="serve", help="Serve until SIGTERM or Ctrl-C.")

app.command("opentill.cli.migrate:migrate", name="migrate")

merchants = App(name="merchants", help="Merchants: parent accounts that create orders.")
merchants.command("opentill.cli.merchants.merchants:create", name="create")
merchants.command("opentill.cli.merchants.merchants:set_", name="set")
merchants.command("opentill.cli.merchants.merchants:show", name="list")
merchants.command("opentill.cli.merchants.merchants:logo", name="logo")
app.command(merchants)

accounts = App(name="accounts", help="Sub-accounts of a merchant, which orders can credit.")
accounts.command("opentill.cli.merchants.merchants:add_account", name="add")
accounts.command("opentill.cli.merchants.merchants:show_accounts", name="list")
app.command(accounts)

clients = App(name="clients", help="Credentials of a merchant's programs.")
clients.command("opentill.cli.merchants.clients:add", name="add")
clients.command("opentill.cli.merchants.clients:show", name="list")
clients.command("opentill.cli.merchants.clients:disable", name="disable")
clients.command("opentill.cli.merchants.clients:rotate", name="rotate")
app.command(clients)

orders = App(name="orders", help="A merchant's orders, on a running server.")
orders.command("opentill.cli.orders.show:list_", name="list")
orders.command("opentill.cli.orders.show:show", name="show")
orders.command("opentill.cli.orders.acts:open_", name="open")
orders.command("opentill.cli.orders.acts:pay", name="pay")
orders.command("opentill.cli.orders.acts:refund", name="refund")
orders.command("opentill.cli.orders.cancel:cancel", name="cancel")
app.command(orders)
app.command("opentill.cli.orders.explain:explain", name="explain")

webhooks = App(name="webhooks", help="What merchants are told, and whether it arrived.")
webhooks.command("opentill.cli.events.deliveries:list_", name="list")
webhooks.command("opentill.cli.events.deliveries:show", name="show")
webhooks.command("opentill.cli.events.deliveries:resend", name="resend")
app.command(webhooks)

app.command("opentill.cli.events.listen:listen", name="listen")
app.command("opentill.cli.events.trigger:trigger", name="trigger")
app.command("opentill.cli.events.verify_signature:verify_signature", name="verify-signature")

app.command("opentill.cli.doctor.doctor:doctor", name="doctor")

clock = App(name="clock", help="The time, which a sandbox can move and a person confirms.")
clock.command("opentill.cli.clock:show", name="show")
clock.command("opentill.cli.clock:advance", name="advance")
clock.command("opentill.cli.clock:confirm", name="confirm")
app.command(clock)
app.command("opentill.cli.race:race", name="race")
credits_ = App(name="credits", help="Transfers whose money waits for a person to say whose it is.")
credits_.command("opentill.cli.money.credits:list_", name="list")
credits_.command("opentill.cli.money.credits:attach", name="attach")
credits_.command("opentill.cli.money.credits:accept", name="accept")
credits_.command("opentill.cli.money.credits:return_", name="return")
app.command(credits_)

returns = App(name="returns", help="Money on its way back to its senders.")
returns.command("opentill.cli.money.returns:list_", name="list")
returns.command("opentill.cli.money.returns:retry", name="retry")
returns.command("opentill.cli.money.returns:settle", name="settle")
app.command(returns)

ledger = App(name="ledger", help="The books.")
ledger.command("opentill.cli.money.ledger:check", name="check")
ledger.command("opentill.cli.money.ledger:export", name="export")
app.command(ledger)


def run() -> None:
    """Parse the arguments and run the command."""
    escape_what_can_not_be_written()
    try:
        app(print_error=False, exit_on_error=False)
    except CycloptsError as error:
        sentence = " ".join(str(error).split())
        sys.stderr.write(f"opentill: {sentence} See opentill --help.\n")
        sys.exit(OPERATOR_ERROR)
    except BrokenPipeError:  # whoever read our output has seen enough; nothing more can be written there
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(OPERATOR_ERROR)
