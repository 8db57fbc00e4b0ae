"""How publishers name the files of their corpora: one row of `CORPORA` per corpus."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

Groups = dict[str, str]


def squash(text: str) -> str:
    """Return the letters and digits of a text, in lower case."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _unknown_gender(groups: Groups) -> None:
    return None


def _gender_in_name(groups: Groups) -> str:
    return {"f": "female", "m": "male", "01": "female", "02": "male"}[groups["gender"].lower()]


def _odd_is_male(groups: Groups) -> str:
    return "male" if int(groups["speaker"]) % 2 else "female"


def _women(speakers: str) -> Callable[[Groups], str]:
    women = frozenset(speakers.split())
    return lambda groups: "female" if groups["speaker"].upper() in women else "male"


@dataclass(frozen=True)
class Corpus:
    """The file names of one published corpus.

    Attributes:
        name: The name in `Utterance.corpus` and in the `corpus` argument.
        title: The name in messages.
        source: A paper or page that describes the corpus and its file names.
        example: A file as the publisher names it.
        naming: A regular expression for the name without extension (and its folder, where the folder matters),
            with the groups `speaker`, `emotion`, `text` and `gender` that the name contains.
        codes: The emotion of each code, as "W=angry L=bored"; a label without an emotion, "xxx=", is skipped.
        medium: A regular expression for a prefix that differs between copies of one recording.
        gender: A function from the groups to the gender.
        speaker: A template of the speaker's code.
        speaker_case: The publisher's case of that code.
        text: A template of the sentence's code; None where the name does not contain it.
        text_case: The publisher's case of that code.
    """

    name: str
    title: str
    source: str
    example: str
    naming: str
    codes: str
    medium: str = ""
    gender: Callable[[Groups], str | None] = _unknown_gender
    speaker: str = "{speaker}"
    speaker_case: Callable[[str], str] = str.upper
    text: str | None = None
    text_case: Callable[[str], str] = str.lower

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The compiled `naming`, which matches `folder/name` in any case."""
        return re.compile(rf"(?:[^/]*/)?{self.medium}(?P<key>{self.naming})", re.IGNORECASE)

    @cached_property
    def emotions(self) -> dict[str, str | None]:
        """The emotion of each code in lower case; None for labels that are skipped."""
        pairs = (pair.split("=") for pair in self.codes.split())
        return {code.lower(): emotion or None for code, emotion in pairs}


CORPORA: tuple[Corpus, ...] = (
    Corpus(
        name="ravdess",
        title="RAVDESS",
        source="Livingstone and Russo 2018, https://zenodo.org/records/1188976",
        example="Actor_12/03-01-06-01-02-01-12.wav",
        # modality (01 video with sound, 02 without, 03 sound), channel (01 speech, 02 song), emotion, intensity,
        # statement, repetition, actor
        medium=r"0[1-3]-",
        naming=r"0[12]-(?P<emotion>\d\d)-0[12]-(?P<text>0[12])-0[12]-(?P<speaker>0[1-9]|1\d|2[0-4])",
        codes="01=neutral 02=calm 03=happy 04=sad 05=angry 06=fearful 07=disgust 08=surprised",
        gender=_odd_is_male,
        text="s{text}",
    ),
    Corpus(
        name="banglaser",
        title="BanglaSER",
        source="Das et al. 2022, https://data.mendeley.com/datasets/t9h6p943xy/5",
        example="03-01-05-01-03-03-34.wav",
        # RAVDESS' seven parts with other emotion codes, 3 statements, 3 repetitions and 34 actors; three published
        # files of actor 15 have 01 as their first part
        naming=r"0[13]-01-(?P<emotion>\d\d)-0[12]-(?P<text>0[1-3])-0[1-3]-(?P<speaker>0[1-9]|[12]\d|3[0-4])",
        codes="01=happy 02=sad 03=angry 04=surprised 05=neutral",
        gender=_odd_is_male,
        text="s{text}",
    ),
    Corpus(
        name="emodb",
        title="EmoDB",
        source="Burkhardt et al. 2005, http://emodb.bilderbar.info",
        example="wav/03a01Fa.wav",
        naming=r"(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<emotion>[a-z])[a-z]?",
        # the first letters of the German words
        codes="W=angry L=bored E=disgust A=fearful F=happy T=sad N=neutral",
        gender=_women("08 09 13 14 16"),
        text="{text}",
    ),
    Corpus(
        name="savee",
        title="SAVEE",
        source="Jackson and Haq 2014, http://kahlan.eps.surrey.ac.uk/savee",
        example="AudioData/DC/a01.wav",
        # copies in one folder are named ALL/DC_a01.wav
        naming=r"(?P<speaker>DC|JE|JK|KL)[/_](?P<emotion>[a-z]{1,2})(?P<text>\d\d)",
        codes="a=angry d=disgust f=fearful h=happy n=neutral sa=sad su=surprised",
        gender=lambda groups: "male",
        text="{emotion}{text}",
    ),
    Corpus(
        name="tess",
        title="TESS",
        source="Pichora-Fuller and Dupuis 2020, https://doi.org/10.5683/SP2/E8H2MF",
        example="OAF_Fear/OAF_back_fear.wav",
        # one published file lacks the F: OA_bite_neutral.wav
        naming=r"(?P<speaker>[OY]A)F?_(?P<text>[a-z-]+)_(?P<emotion>[a-z]+)",
        codes="angry=angry disgust=disgust fear=fearful happy=happy neutral=neutral ps=surprised sad=sad",
        gender=lambda groups: "female",
        speaker="{speaker}F",
        text="{text}",
    ),
    Corpus(
        name="cremad",
        title="CREMA-D",
        source="Cao et al. 2014, https://github.com/CheyneyComputerScience/CREMA-D",
        example="AudioWAV/1001_DFA_ANG_XX.wav",
        # one published file has one X: 1040_ITH_SAD_X.wav
        naming=r"(?P<speaker>10\d\d)_(?P<text>[a-z]{3})_(?P<emotion>[a-z]{3})_[a-z]{1,2}",
        codes="ANG=angry DIS=disgust FEA=fearful HAP=happy NEU=neutral SAD=sad",
        # VideoDemographics.csv
        gender=_women(
            "1002 1003 1004 1006 1007 1008 1009 1010 1012 1013 1018 1020 1021 1024 1025 1028 1029 1030 1037"
            " 1043 1046 1047 1049 1052 1053 1054 1055 1056 1058 1060 1061 1063 1072 1073 1074 1075 1076 1078"
            " 1079 1082 1084 1089 1091"
        ),
        text="{text}",
        text_case=str.upper,
    ),
    Corpus(
        name="emovo",
        title="EMOVO",
        source="Costantini et al. 2014, http://voice.fub.it/activities/corpora/emovo",
        example="f1/gio-f1-b1.wav",
        naming=r"(?P<emotion>[a-z]{3})-(?P<speaker>(?P<gender>[fm])[1-3])-(?P<text>[a-z]\d)",
        codes="dis=disgust gio=happy neu=neutral pau=fearful rab=angry sor=surprised tri=sad",
        gender=_gender_in_name,
        speaker_case=str.lower,
        text="{text}",
    ),
    Corpus(
        name="nemo",
        title="nEMO",
        source="Christop 2024, https://github.com/amu-cai/nEMO",
        example="samples/EB0_anger_1.wav",
        naming=r"(?P<speaker>[a-z]{2}0)_(?P<emotion>[a-z]+)_(?P<text>\d+)",
        codes="anger=angry fear=fearful happiness=happy neutral=neutral sadness=sad surprised=surprised",
        gender=_women("EB0 IC0 KD0 MK0"),
        text="{text}",
    ),
    Corpus(
        name="urdu",
        title="URDU",
        source="Latif et al. 2018, https://github.com/siddiquelatif/URDU-Dataset",
        example="Angry/SM1_F1_A01.wav",
        # speaker, the speaker's file, the emotion's file
        naming=r"(?P<speaker>S(?P<gender>[fm])\d+)_F\d+_(?P<emotion>[a-z])\d+",
        codes="A=angry H=happy N=neutral S=sad",
        gender=_gender_in_name,
    ),
    Corpus(
        name="ased",
        title="ASED",
        source="Retta et al. 2023, https://github.com/Ethio2021/ASED_V1",
        example="05Angry/a5-03-01-02-50.wav",
        # emotion and folder, sentence of that emotion, repetition, gender, speaker
        naming=r"(?P<emotion>[a-z])\d-(?P<text>\d\d)-\d\d-(?P<gender>0[12])-(?P<speaker>\d\d)",
        codes="n=neutral f=fearful h=happy s=sad a=angry",
        gender=_gender_in_name,
        text="{emotion}{text}",
    ),
    Corpus(
        name="turev",
        title="TurEV-DB",
        source="Canpolat et al. 2020, https://github.com/Xeonen/TurEV-DB",
        example="Sound Source/Angry/1157_kz_beste.wav",
        naming=r"(?P<emotion>angry|calm|happy|sad)/(?P<speaker>\d{4})_[a-z]{2}_(?P<text>\w+)",
        codes="Angry=angry Calm=calm Happy=happy Sad=sad",
        text="{text}",
    ),
    Corpus(
        name="shemo",
        title="ShEMO",
        source="Nezami et al. 2019, https://github.com/pariajm/sharif-emotional-speech-dataset",
        example="male/M01A01.wav",
        naming=r"(?P<speaker>(?P<gender>[fm])\d\d)(?P<emotion>[a-z])\d\d+",
        codes="A=angry F=fearful H=happy N=neutral S=sad W=surprised",
        gender=_gender_in_name,
    ),
    Corpus(
        name="iemocap",
        title="IEMOCAP",
        source="Busso et al. 2008, https://sail.usc.edu/iemocap",
        example="Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav",
        # The first F or M wears the markers, the last one speaks; Session*/dialog/EmoEvaluation/*.txt has the emotion
        naming=r"Ses(?P<session>0[1-5])[fm]_(?:impro|script)\w+_(?P<gender>[fm])[x\d]{2}\d",
        codes="neu=neutral hap=happy exc=happy sad=sad ang=angry fru= fea= sur= dis= oth= xxx=",
        gender=_gender_in_name,
        speaker="{session}{gender}",
    ),
)

CORPORA_BY_NAME = {corpus.name: corpus for corpus in CORPORA}
