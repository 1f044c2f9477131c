%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Pauses between attempts that fail: each up to twice as long as the one before, up to a limit, and
%% random, so that many who lost the same peer at once do not come back at once.
-module(gen_rpc_backoff).

-export([new/1, next/1]).

%% Up to here the first pause, ms: as long as a handshake between sites takes, and not worth a wait.
-define(FIRST, 100).

-opaque t() :: {Next :: pos_integer(), Max :: pos_integer()}. % ms
-export_type([t/0]).

%% Max: the longest pause, ms.
-spec new(pos_integer()) -> t().
new(Max) ->
    {min(?FIRST, Max), Max}.

%% The next pause, ms: at least half of what it may be.
-spec next(t()) -> {pos_integer(), t()}.
next({Next, Max}) ->
    Least = (Next + 1) div 2,
    {Least + rand:uniform(Next - Least + 1) - 1, {min(2 * Next, Max), Max}}.
