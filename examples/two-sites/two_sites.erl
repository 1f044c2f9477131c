%% SPDX-License-Identifier: Apache-2.0
%% Calls a function on an inner node of the other site, by way of both edges.
-module(two_sites).

-export([call/6]).

-spec call(node(), node(), node(), module(), atom(), [term()]) -> term().
call(OurEdge, TheirEdge, Node, M, F, A) ->
    gen_rpc:call(OurEdge, gen_rpc, call, [TheirEdge, gen_rpc, call, [Node, M, F, A]]).
