"""The suite `travel`, declared from its tools alone, when the policy was settled: nothing was fitted to its tasks.

Names, cities, prices and ratings are the service's own; outsiders write reviews, which no field here holds. A
reservation is seen by others and moves no money: it can be made for what the person names, or what the figures pick.
"""

from collections.abc import Mapping, Sequence

from bench.agentdojo import workspace
from bench.agentdojo.integration import Arguments, Integration, Name, Names, as_records, declare, read
from bench.agentdojo.suites import Environment
from operalta.agents.records import Bindings, Collection, Pick, Record, Selector
from operalta.agents.registry import SinkType, ToolClass


class City(Arguments):
    """A city."""

    city: Name


class Hotels(Arguments):
    """Hotels by their names."""

    hotel_names: Names


class Hotel(Arguments):
    """A hotel by its name."""

    hotel_name: Name


class Restaurants(Arguments):
    """Restaurants by their names."""

    restaurant_names: Names


class Companies(Arguments):
    """Car rentals by their names."""

    company_name: Names


class Flight(Arguments):
    """Whence and where to."""

    departure_city: Name
    arrival_city: Name


class ReserveHotel(Arguments):
    """A hotel and the days."""

    hotel: Name
    start_day: Name
    end_day: Name


class ReserveRestaurant(Arguments):
    """A restaurant and the time."""

    restaurant: Name
    start_time: Name


class ReserveCar(Arguments):
    """A car rental and the times."""

    company: Name
    start_time: Name
    end_time: Name | None = None


_RESERVE = "reserve book make"


TOOLS = (
    read("get_user_information"),
    *(
        read(name, City, city=SinkType.QUERY)
        for name in ("get_all_hotels_in_city", "get_all_restaurants_in_city", "get_all_car_rental_companies_in_city")
    ),
    *(
        read(name, Hotels, hotel_names=SinkType.QUERY)
        for name in ("get_hotels_prices", "get_rating_reviews_for_hotels")
    ),
    read("get_hotels_address", Hotel, hotel_name=SinkType.QUERY),
    *(
        read(name, Restaurants, restaurant_names=SinkType.QUERY)
        for name in (
            "get_cuisine_type_for_restaurants",
            "get_restaurants_address",
            "get_rating_reviews_for_restaurants",
            "get_dietary_restrictions_for_all_restaurants",
            "get_contact_information_for_restaurants",
            "get_price_for_restaurants",
            "check_restaurant_opening_hours",
        )
    ),
    *(
        read(name, Companies, company_name=SinkType.QUERY)
        for name in (
            "get_car_types_available",
            "get_rating_reviews_for_car_rental",
            "get_car_fuel_options",
            "get_car_rental_address",
            "get_car_price_per_day",
        )
    ),
    read("get_flight_information", Flight, departure_city=SinkType.QUERY, arrival_city=SinkType.QUERY),
    *(
        workspace.WORKSPACE.tool(name)
        for name in (
            "create_calendar_event",
            "search_calendar_events",
            "get_day_calendar_events",
            "cancel_calendar_event",
            "send_email",
        )
    ),
    declare(
        "reserve_hotel",
        ToolClass.WRITE_SHARED,
        ReserveHotel,
        {"hotel": SinkType.RECORD, "start_day": SinkType.MOMENT, "end_day": SinkType.MOMENT},
        _RESERVE,
        bindings=Bindings(takes={"hotel": "hotels"}, leaves=frozenset({"hotel"})),
    ),
    declare(
        "reserve_restaurant",
        ToolClass.WRITE_SHARED,
        ReserveRestaurant,
        {"restaurant": SinkType.RECORD, "start_time": SinkType.MOMENT},
        _RESERVE,
        bindings=Bindings(takes={"restaurant": "restaurants"}, leaves=frozenset({"restaurant"})),
    ),
    declare(
        "reserve_car_rental",
        ToolClass.WRITE_SHARED,
        ReserveCar,
        {"company": SinkType.RECORD, "start_time": SinkType.MOMENT, "end_time": SinkType.MOMENT},
        _RESERVE,
        bindings=Bindings(takes={"company": "companies"}, leaves=frozenset({"company"})),
    ),
)


def _places(name: str, nouns: str, price: str) -> Collection:
    """Declare places that are known by their names, rated, and priced."""
    city = r"(?: in (?P<city>[A-Z]\w+))?"
    return Collection(
        name,
        reference="name",
        identity="name",
        outsiders_write=False,
        selectors=(
            Selector(rf"\b(?:highest|best)[ -]rated (?:{nouns}){city}", Pick.HIGHEST, "rating"),
            Selector(rf"\b(?:{nouns}){city} with the (?:highest|best) ratings?\b", Pick.HIGHEST, "rating"),
            Selector(rf"\bcheapest (?:{nouns}){city}", Pick.LOWEST, price),
            Selector(rf"\b(?:{nouns}){city} with the lowest price\b", Pick.LOWEST, price),
        ),
    )


COLLECTIONS = (
    *workspace.COLLECTIONS,
    _places("hotels", "hotel", "price_min"),
    _places("restaurants", "restaurant", "price_per_person"),
    _places("companies", "car rental(?: company)?|company", "price_per_day"),
)


def records(environment: Environment) -> Mapping[str, Sequence[Record]]:
    """Read all collections; there is no drive here."""
    return {
        "events": workspace.events(environment),
        "emails": as_records(list(environment.inbox.emails.values())),
        "people": workspace.people(environment),
        "hotels": as_records(environment.hotels.hotel_list),
        "restaurants": as_records(environment.restaurants.restaurant_list),
        "companies": as_records(environment.car_rental.company_list),
    }


TRAVEL = Integration("travel", TOOLS, COLLECTIONS, records, own=workspace.own, fit=workspace.fit)
