"""Names of attempts and credits as merchants know them (rulings 7 and 19)."""

from typing import Final

_UUID_CHARACTERS: Final = 36
_TX_REF_PREFIX: Final = "txref-"


def transaction_id(account_id: str, uuid: str) -> str:
    """Return the name of an attempt, or of the credit of this id (rulings 7 and 19)."""
    return f"WEB-ONLINE_C-{account_id[:5]}-{uuid}"


def uuid_of(transaction: str) -> str:
    """Return the UUID that the name of an attempt or credit ends with; a credit's is its id."""
    return transaction[-_UUID_CHARACTERS:]


def return_id(transaction: str) -> str:
    """Return the one id, for life, under which a rail is asked to send a credit's money back."""
    return uuid_of(transaction)


def merchant_tx_ref(transaction: str) -> str:
    """Return a second name of an attempt, made of the first, so that it is found without being kept."""
    return _TX_REF_PREFIX + uuid_of(transaction)


def transaction_of_tx_ref(account_id: str, tx_ref: str) -> str | None:
    """Return the transaction id of a merchant's ``merchantTxRef``; None for a text that is none."""
    uuid = tx_ref.removeprefix(_TX_REF_PREFIX)
    if uuid == tx_ref or len(uuid) != _UUID_CHARACTERS:
        return None
    return transaction_id(account_id, uuid)
