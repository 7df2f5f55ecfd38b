"""Replies and errors as the vendors' own documents show them, with the page and the day of reading."""

from __future__ import annotations

from typing import Any

# platform.openai.com, API reference, "The chat completion object"; read 2026-11-20.
OPENAI: dict[str, Any] = {
    "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
    "object": "chat.completion",
    "created": 1741570283,
    "model": "gpt-4.1-2025-04-14",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "fine", "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 1117,
        "completion_tokens": 46,
        "total_tokens": 1163,
        "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 30,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    },
    "service_tier": "default",
    "system_fingerprint": "fp_fc9f1d7035",
}

# As reported by users of the vendor's endpoint, word for word; read 2026-11-20.
OPENAI_CAP: dict[str, Any] = {
    "error": {
        "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead.",
        "type": "invalid_request_error",
        "param": "max_tokens",
        "code": "unsupported_parameter",
    }
}
OPENAI_TEMPERATURE: dict[str, Any] = {
    "error": {
        "message": "Unsupported value: 'temperature' does not support 0.1 with this model. "
        "Only the default (1) value is supported.",
        "type": "invalid_request_error",
        "param": "temperature",
        "code": "unsupported_value",
    }
}
OPENAI_KEY: dict[str, Any] = {
    "error": {
        "message": "Incorrect API key provided: sk-test. You can find your API key at the dashboard.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
}
OPENAI_MODEL: dict[str, Any] = {
    "error": {
        "message": "The model `m` does not exist or you do not have access to it.",
        "type": "invalid_request_error",
        "param": None,
        "code": "model_not_found",
    }
}

# platform.claude.com, API reference, "Create a Message" and "Handling stop reasons"; read 2026-11-20.
ANTHROPIC: dict[str, Any] = {
    "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-4-6",
    "content": [{"type": "text", "text": "fine", "citations": None}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 2095,
        "output_tokens": 503,
        "cache_creation_input_tokens": 2051,
        "cache_read_input_tokens": 1800,
        "cache_creation": {"ephemeral_5m_input_tokens": 2051, "ephemeral_1h_input_tokens": 0},
        "service_tier": "standard",
    },
}


def anthropic_error(kind: str, message: str, **more: object) -> dict[str, Any]:
    """An error as platform.claude.com, "Errors", shows its shape; read 2026-11-20."""
    return {
        "type": "error",
        "error": {"type": kind, "message": message, **more},
        "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy",
    }


# As reported by users of the vendor's endpoint, word for word; read 2026-11-20.
ANTHROPIC_TEMPERATURE = anthropic_error("invalid_request_error", "`temperature` is deprecated for this model.")
ANTHROPIC_CREDIT = anthropic_error(
    "invalid_request_error", "Your credit balance is too low to access the Anthropic API."
)
ANTHROPIC_KEY = anthropic_error("authentication_error", "invalid x-api-key")
ANTHROPIC_MODEL = anthropic_error("not_found_error", "model: m")

# ai.google.dev, API reference, "GenerateContentResponse" and "UsageMetadata"; read 2026-11-20.
GOOGLE: dict[str, Any] = {
    "candidates": [
        {
            "content": {
                "parts": [{"text": "Let me think.", "thought": True}, {"text": "fi"}, {"text": "ne"}],
                "role": "model",
            },
            "finishReason": "STOP",
            "index": 0,
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 1200,
        "cachedContentTokenCount": 1000,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 80,
        "totalTokenCount": 1300,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1200}],
    },
    "modelVersion": "gemini-2.5-flash",
    "responseId": "mAitaLmkHPPlz7IPvtfUqQ4",
}


def google_error(code: int, status: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    """An error as ai.google.dev, "Troubleshooting", and the public error model of Google's APIs have it; 2026-11-20."""
    told: dict[str, Any] = {"code": code, "message": message, "status": status}
    return {"error": {**told, "details": list(details)} if details else told}


# As reported by users of the vendor's endpoint, word for word; read 2026-11-20.
GOOGLE_KEY = google_error(
    400,
    "INVALID_ARGUMENT",
    "API key not valid. Please pass a valid API key.",
    {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    },
)
GOOGLE_QUOTA = google_error(
    429,
    "RESOURCE_EXHAUSTED",
    "You exceeded your current quota, please check your plan and billing details.",
    {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "quotaValue": "20"}],
    },
    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "36s"},
)
GOOGLE_CANDIDATES = google_error(400, "INVALID_ARGUMENT", "Multiple candidates is not enabled for this model")
GOOGLE_LOGPROBS = google_error(400, "INVALID_ARGUMENT", "Logprobs is not enabled for models/gemini-2.5-flash-lite")
GOOGLE_MODEL = google_error(
    404, "NOT_FOUND", "models/m is not found for API version v1beta, or is not supported for generateContent."
)
