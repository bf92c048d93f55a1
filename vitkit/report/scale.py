"""How the severities of a unit are said in a sentence and drawn on an axis."""

from dataclasses import dataclass

SPACE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Scale:
    """One unit of severity.

    Args:
        axis: Label of the axis.
        before: What stands before the number in "when ...".
        after: What stands after it.
        percent: Whether severities are shares, shown as percentages.
        signed: Whether a positive number carries its sign.
        sides: What lies below and above the identity.
    """

    axis: str
    before: str = ""
    after: str = ""
    percent: bool = False
    signed: bool = False
    sides: tuple[str, str] = ("Downwards", "Upwards")

    @property
    def factor(self) -> float:
        """What a severity is multiplied by to be drawn."""
        return 100.0 if self.percent else 1.0

    def digits(self, severity: float) -> str:
        """The number alone, without a percent sign."""
        value = severity * self.factor
        decimals = 0 if abs(value) >= (10 if self.percent else 100) else 1 if self.percent or abs(value) >= 10 else 2
        text = f"{value:.{decimals}f}" if abs(value) >= 0.02 else f"{value:.2g}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return f"+{text}" if self.signed and value > 0 else minus(text)

    def number(self, severity: float) -> str:
        r"""The number with its percent sign, if it has one.

        >>> AREA.number(0.5), Scale("factor").number(0.456)
        ('50\xa0%', '0.46')
        """
        return self.digits(severity) + (f"{SPACE}%" if self.percent else "")

    def phrase(self, severity: float) -> str:
        r"""What follows "when".

        >>> AREA.phrase(0.5)
        '50\xa0% of the area is hidden'
        """
        return f"{self.before}{self.number(severity)}{self.after}"


AREA = Scale("Area hidden (%)", after=" of the area is hidden", percent=True)

VOLUME = Scale("Volume hidden (%)", after=" of the volume is hidden", percent=True)

_SCALES = {
    "severity": Scale("Severity", "the severity is "),
    "share of area": AREA,
    "share of patches": Scale("Patches hidden (%)", after=" of the patches are hidden", percent=True),
    "patches along each axis": Scale("Patches along each axis", "the image is shuffled in ", " patches along each axis"),
    "voxels missing": Scale("Slices missing", after=" slices are missing"),
    "mm missing": Scale("Slab missing (mm)", "a slab of ", " mm is missing"),
    "factor": Scale("Factor on intensity", "intensity is multiplied by ", sides=("Darker", "Brighter")),
    "fraction of full intensity": Scale(
        "Shift (fraction of full intensity)", after=" of full intensity is added", signed=True, sides=("Darker", "Brighter")
    ),
    "fraction of full value": Scale(
        "HSV value (fraction of full value)", after=" of full value is added in HSV", signed=True, sides=("Darker", "Brighter")
    ),
    "factor on contrast": Scale("Factor on contrast", "contrast is multiplied by ", sides=("Flatter", "Harsher")),
    "exponent": Scale("Exponent of intensity", "intensity is raised to the power of ", sides=("Brighter", "Darker")),
}


def scale_of(unit: str) -> Scale:
    """The scale of a unit; one that is unknown is named as it is."""
    return _SCALES.get(unit) or Scale(unit or "Severity", "the severity is ", f" ({unit})" if unit else "")


def decimal(value: float, factor: float = 100.0, digits: int = 1, sign: str = "-") -> str:
    """A share in percent, or a number times a factor, rounded to so many digits; ``sign`` "+" shows that of positive numbers.

    One number is said alike everywhere: the last bits, which depend on how it was computed, decide about no digit.

    >>> decimal(0.3095), decimal(0.30950000000000005), f"{30.95:.1f}", f"{30.950000000000005:.1f}"
    ('30.9', '30.9', '30.9', '31.0')
    """
    return f"{round(value * factor, 9):{sign}.{digits}f}"


def minus(text: str) -> str:
    """A formatted number with a minus sign in place of a hyphen."""
    return text.replace("-", "\N{MINUS SIGN}")
