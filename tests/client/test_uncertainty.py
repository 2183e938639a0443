"""How unsure an answer is, as a client gets it."""

from hydrazoo.client.codec import decode_predictions
from hydrazoo.predict.v1 import predict_pb2 as pb


def test_an_uncertainty_is_there_where_a_head_says_one_and_none_is_not_zero() -> None:
    sure = pb.Prediction(head="urgency", regression=pb.Regression(value=7.5, low=0, high=10), uncertainty=0.0)
    silent = pb.Prediction(head="intent", classification=pb.Classification(label="a"))
    answers = decode_predictions(("urgency", "intent"), pb.PredictResponse(predictions=[sure, silent]))
    assert answers["urgency"].uncertainty == 0.0
    assert answers["intent"].uncertainty is None
