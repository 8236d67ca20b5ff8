"""What things cost: credits at check-in and by the hour, and pay-as-you-go (C-07, §7).

Everything is computed in whole numbers and rounded once, at the end, half-up.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from edgegate.passes.facts import Facts
from edgegate.passes.model import Location, Offer, Unit
from edgegate.passes.state import Sale, Tab

SECONDS_A_MINUTE = 60
MINUTES_AN_HOUR = 60


def for_plans(price: int | None, by_plan: Mapping[str, int], plans: Iterable[str]) -> int | None:
    """The price for a customer on these plans: a plan's own replaces it, of several the lowest."""
    return min((by_plan[plan] for plan in plans if plan in by_plan), default=price)


def check_in_credits(location: Location, facts: Facts, at: datetime) -> int | None:
    """What a check-in costs this customer, in hundredths of a credit; None: no price applies."""
    return for_plans(location.credit_price, location.credit_plan_prices, facts.plans(at))


def offer_price(offer: Offer, facts: Facts, at: datetime) -> int:
    """What an offer costs this customer, in minor units (P-03)."""
    price = for_plans(offer.price, offer.plan_prices, facts.plans(at))
    return offer.price if price is None else price


def sale_of(offer: Offer, facts: Facts, at: datetime) -> Sale:
    """The terms of a sale, as they are now and stay for the visit."""
    return Sale(
        offer=offer.id,
        price=offer_price(offer, facts, at),
        currency=offer.currency,
        amount=offer.amount if offer.unit is Unit.MINUTE else None,
        minimum_minutes=offer.minimum_minutes,
    )


def charge(tab: Tab) -> int:
    """What a visit costs on one offer, in minor units (P-01, P-02, P-04, P-07)."""
    sale = tab.sale
    if sale.amount is None:
        return sale.price
    if tab.used_s <= 0:
        return 0
    minutes = max(ceiling(tab.used_s, SECONDS_A_MINUTE), sale.minimum_minutes)
    return half_up(minutes * sale.price, sale.amount)


def least_charge(sale: Sale) -> int:
    """What a sale counts for at once (O-05): its day price or its minimum charge."""
    if sale.amount is None:
        return sale.price
    return half_up(sale.minimum_minutes * sale.price, sale.amount)


def credits_for(minutes: int, price_hour: int) -> int:
    """What minutes of a resource cost, in hundredths of a credit."""
    return half_up(minutes * price_hour, MINUTES_AN_HOUR)


def half_up(numerator: int, denominator: int) -> int:
    """Round a quotient of whole numbers half-up."""
    return (2 * numerator + denominator) // (2 * denominator)


def ceiling(numerator: int, denominator: int) -> int:
    """Round a quotient of whole numbers up."""
    return -(-numerator // denominator)
