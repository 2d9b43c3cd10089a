"""Keys of zones, in memory and in the files of BIND's tools."""

import base64
import hashlib
import subprocess

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdtypes.ANY.DNSKEY
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, utils

# Flags of a DNSKEY record: RFC 4034, Section 2.1.1, and RFC 5011, Section 7.
ZONE = 0x0100
REVOKED = 0x0080
ENTRY_POINT = 0x0001
KSK = ZONE | ENTRY_POINT
ZSK = ZONE

# Algorithms: the registry of RFC 8624.
RSASHA1 = 5
NSEC3RSASHA1 = 7
RSASHA256 = 8
RSASHA512 = 10
P256 = 13
P384 = 14
ED25519 = 15
ED448 = 16
UNKNOWN_ALGORITHM = 200

# Digests: RFC 4034, RFC 4509, RFC 6605.
DIGESTS = {1: hashlib.sha1, 2: hashlib.sha256, 4: hashlib.sha384}
UNKNOWN_DIGEST = 200

# How BIND's tools call the algorithms.
MNEMONICS = {
    RSASHA1: "RSASHA1",
    NSEC3RSASHA1: "NSEC3RSASHA1",
    RSASHA256: "RSASHA256",
    RSASHA512: "RSASHA512",
    P256: "ECDSAP256SHA256",
    P384: "ECDSAP384SHA384",
    ED25519: "ED25519",
    ED448: "ED448",
}


class Key:
    """A key of a zone. The private half is made when `make` is called, beside others."""

    def __init__(self, zone, algorithm, flags=KSK, bits=2048, exponent=65537):
        self.zone = zone
        self.algorithm = algorithm
        self.flags = flags
        self.bits = bits
        self.exponent = exponent
        self.private = None

    def make(self):
        """Makes the private half."""
        if self.algorithm == P256:
            self.private = ec.generate_private_key(ec.SECP256R1())
        elif self.algorithm == P384:
            self.private = ec.generate_private_key(ec.SECP384R1())
        elif self.algorithm == ED25519:
            self.private = ed25519.Ed25519PrivateKey.generate()
        elif self.algorithm == ED448:
            self.private = ed448.Ed448PrivateKey.generate()
        elif self.exponent in (3, 65537):
            self.private = rsa.generate_private_key(self.exponent, self.bits)
        else:
            self.private = _openssl_rsa(self.bits, self.exponent)

    @property
    def dnskey(self):
        """The DNSKEY record's data."""
        return dnskey(self.flags, self.algorithm, _public_octets(self.private.public_key()))

    @property
    def tag(self):
        return dns.dnssec.key_id(self.dnskey)

    def ds(self, digest=2, zone=None):
        """The DS record's data as text."""
        return ds_of(zone or self.zone, self.dnskey, digest)

    def sign(self, octets):
        """The signature over these octets as an RRSIG record holds it."""
        if self.algorithm in (ED25519, ED448):
            return self.private.sign(octets)
        if self.algorithm in (P256, P384):
            width, digest = (32, hashes.SHA256()) if self.algorithm == P256 else (48, hashes.SHA384())
            r, s = utils.decode_dss_signature(self.private.sign(octets, ec.ECDSA(digest)))
            return r.to_bytes(width, "big") + s.to_bytes(width, "big")
        digest = {RSASHA256: hashes.SHA256(), RSASHA512: hashes.SHA512()}.get(self.algorithm, hashes.SHA1())
        return self.private.sign(octets, padding.PKCS1v15(), digest)

    def write(self, directory):
        """Writes the pair of files that BIND's and NLnet Labs' tools read; gives their common path."""
        path = directory / f"K{self.zone}+{self.algorithm:03}+{self.tag:05}"
        with open(f"{path}.key", "w") as file:
            file.write(f"{self.zone} 3600 IN DNSKEY {self.dnskey.to_text()}\n")
        with open(f"{path}.private", "w") as file:
            file.write(f"Private-key-format: v1.3\nAlgorithm: {self.algorithm} ({MNEMONICS[self.algorithm]})\n")
            for field, octets in _private_fields(self.private):
                file.write(f"{field}: {base64.b64encode(octets).decode()}\n")
        return str(path)


class Twin(Key):
    """A P-256 key with the tag of another, which is told in `of`."""

    def __init__(self, zone):
        super().__init__(zone, P256)
        self.of = None

    def make(self):
        """Makes pairs until two have one tag: by the birthday paradox some hundred tries."""
        by_tag = {}
        while True:
            super().make()
            twin = by_tag.setdefault(self.tag, self.private)
            if twin is not self.private:
                self.of.private = twin
                return


def ds_of(zone, dnskey, digest=2):
    """The DS record's data as text of a DNSKEY record's data."""
    octets = dns.name.from_text(zone).canonicalize().to_wire() + dnskey.to_wire()
    return f"{dns.dnssec.key_id(dnskey)} {int(dnskey.algorithm)} {digest} {DIGESTS[digest](octets).hexdigest()}"


def dnskey(flags, algorithm, public, protocol=3):
    """The data of a DNSKEY record."""
    return dns.rdtypes.ANY.DNSKEY.DNSKEY(
        dns.rdataclass.IN, dns.rdatatype.DNSKEY, flags, protocol, algorithm, public
    )


def load_p256(path, zone):
    """A P-256 key that was written."""
    with open(f"{path}.private") as file:
        fields = dict(line.split(": ", 1) for line in file)
    key = Key(zone, P256)
    number = int.from_bytes(base64.b64decode(fields["PrivateKey"]), "big")
    key.private = ec.derive_private_key(number, ec.SECP256R1())
    return key


def _openssl_rsa(bits, exponent):
    """An RSA key with an exponent that Python's library does not make."""
    pem = subprocess.run(
        ["openssl", "genpkey", "-quiet", "-algorithm", "RSA"]
        + ["-pkeyopt", f"rsa_keygen_bits:{bits}", "-pkeyopt", f"rsa_keygen_pubexp:{exponent}"],
        check=True,
        capture_output=True,
    ).stdout
    return serialization.load_pem_private_key(pem, None)


def _octets(number):
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _public_octets(public):
    """The public half as a DNSKEY record holds it: RFC 3110, RFC 6605, RFC 8080."""
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        exponent = _octets(numbers.e)
        return bytes([len(exponent)]) + exponent + _octets(numbers.n)
    if isinstance(public, ec.EllipticCurvePublicKey):
        form = serialization.PublicFormat.UncompressedPoint
        return public.public_bytes(serialization.Encoding.X962, form)[1:]
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _private_fields(private):
    """The fields of a private key file and what they hold."""
    if isinstance(private, rsa.RSAPrivateKey):
        numbers = private.private_numbers()
        return [
            ("Modulus", _octets(numbers.public_numbers.n)),
            ("PublicExponent", _octets(numbers.public_numbers.e)),
            ("PrivateExponent", _octets(numbers.d)),
            ("Prime1", _octets(numbers.p)),
            ("Prime2", _octets(numbers.q)),
            ("Exponent1", _octets(numbers.dmp1)),
            ("Exponent2", _octets(numbers.dmq1)),
            ("Coefficient", _octets(numbers.iqmp)),
        ]
    if isinstance(private, ec.EllipticCurvePrivateKey):
        width = (private.curve.key_size + 7) // 8
        return [("PrivateKey", private.private_numbers().private_value.to_bytes(width, "big"))]
    raw = serialization.Encoding.Raw
    return [
        ("PrivateKey", private.private_bytes(raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()))
    ]
